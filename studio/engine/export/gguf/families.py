"""What llama.cpp calls each model family, and the settings it reads for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gguf

from studio.core.errors import ModelUnusable
from studio.engine.export.gguf.rope import describe_rope

Value = int | float | bool | str
_REMEDY = "Export the merged model instead; transformers and vLLM read it as it is."


@dataclass(frozen=True)
class Family:
    """One architecture of llama.cpp.

    ``activation`` is the only one that llama.cpp computes for it. ``rotates_pairs``: query and
    key rows are stored in pairs instead of halves. ``norm_offset`` is added to norm weights.
    ``transposes`` names the ends of weights that are stored the other way round.
    """

    arch: gguf.MODEL_ARCH
    activation: str = "silu"
    rotates_pairs: bool = False
    norm_offset: float = 0.0
    transposes: tuple[str, ...] = ()
    describe: Callable[[Any], dict[str, Value]] = lambda _config: {}

    @property
    def name(self) -> str:
        """How the file calls it."""
        return gguf.MODEL_ARCH_NAMES[self.arch]


def get_family(config: Any) -> Family:
    """Returns the family of a transformers config.

    Raises:
        ModelUnusable: llama.cpp's form of it is unknown here, or computes something else.
    """
    kind = str(config.model_type)
    family = FAMILIES.get(kind)
    if family is None:
        raise ModelUnusable(
            f"Models of the type {kind} cannot be written as GGUF by this version. Those that "
            f"can: {', '.join(sorted(FAMILIES))}.",
            _REMEDY,
        )
    found = _get_activation(config)
    if found != family.activation:
        raise refuse(config, f"it uses the activation {found}, llama.cpp {family.activation}")
    return family


def describe_model(config: Any, family: Family, vocabulary_count: int) -> dict[str, Value]:
    """Returns the settings of the model as the file names them.

    Raises:
        ModelUnusable: The model computes something that llama.cpp does not.
    """
    if kind_is_gpt2(config):
        own: dict[str, Value] = family.describe(config)
    else:
        own = {
            "block_count": config.num_hidden_layers,
            "context_length": _get_context(config),
            "embedding_length": config.hidden_size,
            "feed_forward_length": config.intermediate_size,
            "attention.head_count": config.num_attention_heads,
            "attention.head_count_kv": config.num_key_value_heads,
            "attention.key_length": get_head_size(config),
            "attention.value_length": get_head_size(config),
            "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
            **describe_rope(config),
            **family.describe(config),
        }
    own["vocab_size"] = vocabulary_count
    return {f"{family.name}.{key}": value for key, value in own.items()}


def get_head_size(config: Any) -> int:
    """Returns the width of one attention head."""
    return int(
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )


def get_layer_count(config: Any) -> int:
    """Returns the number of blocks."""
    return int(config.num_hidden_layers)


def kind_is_gpt2(config: Any) -> bool:
    """Returns whether the config names its sizes as GPT-2 does."""
    return str(config.model_type) == "gpt2"


def refuse(config: Any, reason: str) -> ModelUnusable:
    """Returns the error for a model whose answers llama.cpp could not repeat."""
    return ModelUnusable(
        f"This {config.model_type} model cannot be written as GGUF: {reason}.", _REMEDY
    )


def _get_activation(config: Any) -> str:
    for name in ("hidden_activation", "activation_function", "hidden_act"):
        found = getattr(config, name, None)
        if found is not None:
            return str(found)
    return "none"


def _get_context(config: Any) -> int:
    """Returns the longest context in which llama.cpp computes the same as the model.

    It attends to everything where these families would look through a sliding window.
    """
    context = int(config.max_position_embeddings)
    window = getattr(config, "sliding_window", None)
    if config.model_type in ("gemma2", "gemma3_text") or not window:
        return context
    kinds = getattr(config, "layer_types", None) or ()
    slides = "sliding_attention" in kinds or config.model_type in ("mistral", "phi3")
    return min(context, int(window)) if slides else context


def _describe_gpt2(config: Any) -> dict[str, Value]:
    if not config.scale_attn_weights or config.scale_attn_by_inverse_layer_idx:
        raise refuse(config, "its attention is scaled in an unusual way")
    return {
        "block_count": config.n_layer,
        "context_length": config.n_positions,
        "embedding_length": config.n_embd,
        "feed_forward_length": config.n_inner or 4 * config.n_embd,
        "attention.head_count": config.n_head,
        "attention.layer_norm_epsilon": float(config.layer_norm_epsilon),
    }


def _describe_gemma2(config: Any) -> dict[str, Value]:
    _check_query_scale(config, 46)
    _check_pattern(config, 2)
    return {
        "attn_logit_softcapping": float(config.attn_logit_softcapping or 0.0),
        "final_logit_softcapping": float(config.final_logit_softcapping or 0.0),
        "attention.sliding_window": config.sliding_window,
    }


def _describe_gemma3(config: Any) -> dict[str, Value]:
    _check_query_scale(config, 62)
    _check_pattern(config, 6)
    if getattr(config, "use_bidirectional_attention", False):
        raise refuse(config, "it looks at later tokens, too")
    if getattr(config, "attn_logit_softcapping", None):
        raise refuse(config, "its attention is capped, which llama.cpp does not do for it")
    own: dict[str, Value] = {"attention.sliding_window": config.sliding_window}
    if config.final_logit_softcapping:
        own["final_logit_softcapping"] = float(config.final_logit_softcapping)
    return own


def _describe_smollm3(config: Any) -> dict[str, Value]:
    expected = [int((index + 1) % 4 != 0) for index in range(config.num_hidden_layers)]
    if list(config.no_rope_layers) != expected:
        raise refuse(config, "other layers than every fourth are without positions")
    return {}


def _describe_qwen3_moe(config: Any) -> dict[str, Value]:
    if config.mlp_only_layers or config.decoder_sparse_step != 1 or not config.norm_topk_prob:
        raise refuse(config, "its experts are arranged in another way than llama.cpp expects")
    return {
        "expert_count": config.num_experts,
        "expert_used_count": config.num_experts_per_tok,
        "expert_feed_forward_length": config.moe_intermediate_size,
    }


def _check_query_scale(config: Any, large_layer_count: int) -> None:
    """llama.cpp derives the scale of queries from the shape and tells sizes by their layers."""
    is_large = config.num_hidden_layers == large_layer_count
    size = config.hidden_size // config.num_attention_heads if is_large else get_head_size(config)
    if config.query_pre_attn_scalar != size:
        raise refuse(config, f"its queries are scaled by {config.query_pre_attn_scalar}")


def _check_pattern(config: Any, period: int) -> None:
    expected = [
        "full_attention" if (index + 1) % period == 0 else "sliding_attention"
        for index in range(config.num_hidden_layers)
    ]
    if list(config.layer_types) != expected:
        raise refuse(config, f"its layers do not look at everything in each {period}th")


_ARCH = gguf.MODEL_ARCH
_GELU = "gelu_pytorch_tanh"
_LLAMA = Family(_ARCH.LLAMA, rotates_pairs=True)
FAMILIES: Mapping[str, Family] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": Family(_ARCH.QWEN2),
    "qwen3": Family(_ARCH.QWEN3),
    "qwen3_moe": Family(_ARCH.QWEN3MOE, describe=_describe_qwen3_moe),
    "gemma": Family(_ARCH.GEMMA, _GELU, norm_offset=1.0),
    "gemma2": Family(_ARCH.GEMMA2, _GELU, norm_offset=1.0, describe=_describe_gemma2),
    "gemma3_text": Family(_ARCH.GEMMA3, _GELU, norm_offset=1.0, describe=_describe_gemma3),
    "phi3": Family(_ARCH.PHI3, describe=lambda _config: {"attention.sliding_window": 0}),
    "smollm3": Family(_ARCH.SMOLLM3, rotates_pairs=True, describe=_describe_smollm3),
    "olmo2": Family(_ARCH.OLMO2),
    "gpt2": Family(
        _ARCH.GPT2,
        "gelu_new",
        transposes=(".c_attn.weight", ".c_proj.weight", ".c_fc.weight"),
        describe=_describe_gpt2,
    ),
}
