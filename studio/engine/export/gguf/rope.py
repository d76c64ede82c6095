"""Rotary positions of a model as llama.cpp wants them told: settings and factor tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from studio.core.errors import ModelUnusable

_KNOWN = ("default", "linear", "llama3", "yarn", "longrope")
_REMEDY = "Export the merged model instead; transformers and vLLM read it as it is."


def describe_rope(config: Any) -> dict[str, int | float | bool | str]:
    """Returns the settings of the rotary positions, without the family's name before them.

    Raises:
        ModelUnusable: The model stretches positions in a way that llama.cpp does not.
    """
    rope = _get_rope(config)
    kind = _get_kind(rope)
    own: dict[str, int | float | bool | str] = {
        "rope.freq_base": float(rope.get("rope_theta", 10000.0)),
        "rope.dimension_count": get_rotated_size(config),
    }
    local = (config.rope_parameters or {}).get("sliding_attention")
    if local is not None:
        if _get_kind(local) != "default":
            raise _refuse(f"sliding layers with positions of the type {_get_kind(local)}")
        own["rope.freq_base_swa"] = float(local["rope_theta"])
    if kind == "linear":
        own |= {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope["factor"])}
    elif kind == "yarn":
        own |= _describe_yarn(config, rope)
    elif kind == "longrope":
        own |= {
            "rope.scaling.original_context_length": _get_trained_context(config, rope),
            "rope.scaling.attn_factor": _get_long_attention_factor(config, rope),
        }
    return own


def build_rope_tensors(config: Any) -> dict[str, torch.Tensor]:
    """Returns the tensors of factors by which llama.cpp divides the frequencies, fp32."""
    rope = _get_rope(config) if getattr(config, "rope_parameters", None) else {}
    kind = _get_kind(rope)
    if kind == "llama3":
        return {"rope_freqs.weight": _build_llama3_factors(rope, get_rotated_size(config))}
    if kind == "longrope":
        return {
            f"rope_factors_{length}.weight": torch.tensor(
                rope[f"{length}_factor"], dtype=torch.float32
            )
            for length in ("long", "short")
        }
    return {}


def get_rotated_size(config: Any) -> int:
    """Returns how many values of each head are rotated."""
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    share = float(_get_rope(config).get("partial_rotary_factor", 1.0))
    if share != 1.0 and config.model_type != "phi3":
        raise _refuse("only a part of each head rotated")
    return int(size * share)


def _get_rope(config: Any) -> Mapping[str, Any]:
    rope: Mapping[str, Any] = getattr(config, "rope_parameters", None) or {}
    full = rope.get("full_attention", rope)
    return full if isinstance(full, Mapping) else {}


def _get_kind(rope: Mapping[str, Any]) -> str:
    kind = str(rope.get("rope_type", "default"))
    if kind not in _KNOWN:
        raise _refuse(f"positions of the type {kind}")
    return kind


def _refuse(what: str) -> ModelUnusable:
    return ModelUnusable(f"Models with {what} cannot be written as GGUF by this version.", _REMEDY)


def _describe_yarn(config: Any, rope: Mapping[str, Any]) -> dict[str, int | float | bool | str]:
    unusual = {"mscale", "mscale_all_dim", "attention_factor"} & {
        key for key, value in rope.items() if value is not None
    }
    if unusual or rope.get("truncate", True) is False:
        raise _refuse("YaRN positions with a scale of their own")
    return {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": float(rope["factor"]),
        "rope.scaling.original_context_length": _get_trained_context(config, rope),
        "rope.scaling.yarn_beta_fast": float(rope.get("beta_fast") or 32.0),
        "rope.scaling.yarn_beta_slow": float(rope.get("beta_slow") or 1.0),
    }


def _get_trained_context(config: Any, rope: Mapping[str, Any]) -> int:
    return int(rope.get("original_max_position_embeddings") or config.max_position_embeddings)


def _get_long_attention_factor(config: Any, rope: Mapping[str, Any]) -> float:
    given = rope.get("attention_factor")
    if given is not None:
        return float(given)
    trained = _get_trained_context(config, rope)
    scale = rope.get("factor") or config.max_position_embeddings / trained
    return 1.0 if scale <= 1.0 else math.sqrt(1 + math.log(scale) / math.log(trained))


def _build_llama3_factors(rope: Mapping[str, Any], size: int) -> torch.Tensor:
    """Returns by how much each frequency is slowed down: 1 for fast ones, ``factor`` for slow.

    Source: RoPE scaling of Llama 3.1 (``rope_type: llama3``), inverted.
    """
    base, factor = float(rope["rope_theta"]), float(rope["factor"])
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    context = float(rope["original_max_position_embeddings"])
    factors = []
    for index in range(0, size, 2):
        length = 2 * math.pi * base ** (index / size)
        if length < context / high:
            factors.append(1.0)
        elif length > context / low:
            factors.append(factor)
        else:
            smooth = (context / length - low) / (high - low)
            factors.append(1.0 / ((1 - smooth) / factor + smooth))
    return torch.tensor(factors, dtype=torch.float32)
