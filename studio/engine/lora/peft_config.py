"""PEFT's ``adapter_config.json``: what we read from it, refuse in it and write into it."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from studio.core.errors import AdapterUnusable
from studio.core.files import get_file_error
from studio.core.weights.matching import split_layer
from studio.engine.lora.adapter import Adapter

CONFIG_NAME = "adapter_config.json"
_MAX_CONFIG_BYTES = 10_000_000
_INITS = {True: "kaiming", False: "kaiming", "gaussian": "gaussian", "kaiming": "kaiming"}
# Inits that only choose start values. The others (PiSSA, OLoRA, LoftQ, CorDA, LoRA-GA, …) change
# the base weights too, so that their files are meaningless on the base as it was published.
_HARMLESS_INITS = {"gaussian", "eva", "orthogonal", "true", "false", "kaiming"}
# Keys that say nothing about what is computed, or that we read elsewhere.
_NEUTRAL_KEYS = {
    "auto_mapping", "base_model_name_or_path", "corda_config", "eva_config", "exclude_modules",
    "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern",
    "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout", "lora_ga_config",
    "megatron_core", "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern",
    "alpha_pattern", "revision", "runtime_config", "target_modules", "task_type", "use_rslora",
}  # fmt: skip
_WORDS = {
    "use_dora": "weight-decomposed adapters (DoRA)",
    "modules_to_save": "modules that were trained in full",
    "trainable_token_indices": "single token vectors that were trained",
    "layer_replication": "repeated layers",
    "lora_bias": "a bias in the adapter",
    "target_parameters": "adapted parameters that are not layers (experts)",
    "alora_invocation_tokens": "activation by certain tokens (aLoRA)",
    "use_qalora": "QA-LoRA",
}
_T = TypeVar("_T")


@dataclass(frozen=True)
class PeftConfig:
    """The part of an adapter's configuration that decides what its numbers mean."""

    rank: int
    alpha: float
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    use_rslora: bool
    init: str
    base_model: str | None
    revision: str | None

    @property
    def variant(self) -> str:
        """The recipe's word for the scaling rule."""
        return "rslora" if self.use_rslora else "plain"

    def get_rank(self, name: str) -> int:
        """Returns the rank that module ``name`` must have."""
        return _match(self.rank_pattern, name, self.rank)

    def get_alpha(self, name: str) -> float:
        """Returns the alpha of module ``name``."""
        return _match(self.alpha_pattern, name, self.alpha)


def read_peft_config(folder: Path) -> PeftConfig:
    """Returns the configuration in ``folder``, checked key by key.

    Raises:
        AdapterUnusable: The file is broken, or asks for something that is not supported; the
            message names it.
        FileUnusable: The file is missing or cannot be read.
    """
    path = folder / CONFIG_NAME
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise AdapterUnusable(f"{path} is too large for an adapter's settings.", _REMEDY)
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    except (ValueError, RecursionError) as error:
        raise AdapterUnusable(f"{path} is no readable JSON: {error}.", _REMEDY) from error
    if not isinstance(content, dict):
        raise AdapterUnusable(f"{path} holds no settings.", _REMEDY)
    _check_supported(content, path)
    return PeftConfig(
        rank=_get_rank(content.get("r"), "r", path),
        alpha=_get_alpha(content.get("lora_alpha"), "lora_alpha", path),
        rank_pattern=_get_pattern(content, "rank_pattern", _get_rank, path),
        alpha_pattern=_get_pattern(content, "alpha_pattern", _get_alpha, path),
        use_rslora=bool(content.get("use_rslora")),
        init=_INITS.get(content.get("init_lora_weights", True), "kaiming"),
        base_model=_get_text(content.get("base_model_name_or_path")),
        revision=_get_text(content.get("revision")),
    )


def build_peft_config(
    adapter: Adapter, *, base_model: str, revision: str | None, task_type: str | None
) -> dict[str, Any]:
    """Returns the content of ``adapter_config.json`` for ``adapter``, for peft >= 0.10."""
    modules = adapter.modules
    rank = Counter(module.rank for module in modules.values()).most_common(1)[0][0]
    alpha = Counter(module.alpha for module in modules.values()).most_common(1)[0][0]
    targets, layers = _name_targets(adapter)
    kinds = [type(module).__name__ for module in modules.values()]
    return {
        "alpha_pattern": {
            name: _as_number(module.alpha)
            for name, module in modules.items()
            if module.alpha != alpha
        },
        "auto_mapping": None,
        "base_model_name_or_path": base_model,
        "bias": "none",
        "fan_in_fan_out": "AdaptedConv1D" in kinds,
        "inference_mode": True,
        "init_lora_weights": "gaussian" if adapter.init == "gaussian" else True,
        "layers_pattern": None,
        "layers_to_transform": layers,
        "lora_alpha": _as_number(alpha),
        "lora_dropout": max((module.dropout for module in modules.values()), default=0.0),
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": rank,
        "rank_pattern": {
            name: module.rank for name, module in modules.items() if module.rank != rank
        },
        "revision": revision,
        "target_modules": targets,
        "task_type": task_type,
        "use_dora": False,
        "use_rslora": adapter.variant == "rslora",
    }


_REMEDY = "Choose an adapter folder written by LoRA Studio or by PEFT."


def _check_supported(content: dict[str, Any], path: Path) -> None:
    if content.get("peft_type") != "LORA":
        raise AdapterUnusable(
            f"{path} describes an adapter of type {content.get('peft_type')!r}, not LoRA.", _REMEDY
        )
    if content.get("bias", "none") != "none":
        raise AdapterUnusable(f"{path} has trained biases (bias), which is not supported.", _REMEDY)
    init = content.get("init_lora_weights", True)
    if str(init).lower() not in _HARMLESS_INITS:
        raise AdapterUnusable(
            f"{path} was started with {init!r} (init_lora_weights), which also changed the base "
            "model, so that the adapter alone does not say enough.",
            "Convert it to a plain adapter with PEFT first (path_initial_model_for_weight_"
            "conversion), or choose another adapter.",
        )
    for key, value in content.items():
        # Empty lists, false, null and zero ask for nothing, whatever a later peft calls them.
        if value and key not in _NEUTRAL_KEYS and key != "bias":
            words = f"{_WORDS[key]} ({key})" if key in _WORDS else f"the setting {key!r}"
            raise AdapterUnusable(
                f"{path} uses {words}, which is not supported by this version.",
                "Choose another adapter, or merge it with the tool that made it.",
            )


def _name_targets(adapter: Adapter) -> tuple[list[str] | str, list[int] | None]:
    """Returns the shortest target_modules and layers_to_transform that mean exactly our modules."""
    ours = set(adapter.modules)
    known = {name for name, _ in adapter.model.named_modules()}
    known -= {f"{name}.base" for name in ours}
    ends = sorted({name.rpartition(".")[2] for name in ours})
    same_end = {name for name in known if name.rpartition(".")[2] in ends}
    if same_end == ours:
        return ends, None
    layers = {layer for layer, _ in map(split_layer, ours)}
    # peft finds a layer's number only where two segments precede it, as in model.layers.3.
    has_prefix = all(re.match(r".*?\.[^.]*\.\d+\.", name) for name in ours)
    if has_prefix and {name for name in same_end if split_layer(name)[0] in layers} == ours:
        return ends, sorted(layer for layer in layers if layer is not None)
    if all(name in ours for name in known if any(name.endswith(f".{end}") for end in ours)):
        return sorted(ours), None
    return "|".join(re.escape(name) for name in sorted(ours)), None


def _match(pattern: Mapping[str, _T], name: str, default: _T) -> _T:
    for key, value in pattern.items():
        if re.match(rf"(.*\.)?({key})$", name):
            return value
    return default


def _get_pattern(content: dict[str, Any], key: str, read: Any, path: Path) -> Mapping[str, Any]:
    pattern = content.get(key) or {}
    if not isinstance(pattern, dict):
        raise AdapterUnusable(f"{path}: {key} is no table.", _REMEDY)
    for name in pattern:
        # A pattern from a stranger must not be able to search for ever.
        if re.search(r"\)\s*[*+{]", name) or len(re.findall(r"[*+{]", name)) > 4:
            raise AdapterUnusable(f"{path}: {key} has too intricate a pattern: {name!r}.", _REMEDY)
        try:
            re.compile(rf"(.*\.)?({name})$")
        except re.error as error:
            raise AdapterUnusable(
                f"{path}: {key} has a broken pattern: {error}.", _REMEDY
            ) from error
    return {name: read(value, key, path) for name, value in pattern.items()}


def _get_rank(value: object, key: str, path: Path) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise AdapterUnusable(f"{path}: {key} is {value!r}, not a rank.", _REMEDY)
    return value


def _get_alpha(value: object, key: str, path: Path) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise AdapterUnusable(f"{path}: {key} is {value!r}, not a number.", _REMEDY)
    return float(value)


def _get_text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _as_number(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value
