"""What a layer of a model keeps while training, read from names, shapes and configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from studio.core.errors import ModelUnusable
from studio.core.weights.layers import ModelLayers, ModelModule
from studio.core.weights.matching import split_layer
from studio.core.weights.quantisable import is_quantisable

# How many copies of its inner width an activation keeps besides the output: what is written in
# Python keeps every intermediate result, torch's own functions keep their input alone.
_KEPT_BY_ACTIVATION: Mapping[str, int] = {
    "gelu_new": 4,
    "gelu_fast": 4,
    "quick_gelu": 2,
    "relu": 0,
    "relu2": 1,
}
_ONE_NORM_INPUT = frozenset({"phi", "gpt_neox", "falcon", "cohere", "cohere2", "gptj", "codegen"})
_JOINED_ROTARY = frozenset({"phi", "phi3", "gpt_neox", "stablelm", "gptj", "codegen", "glm4"})
_LEARNT_POSITIONS = frozenset({"gpt2", "opt", "gpt_neo", "gpt_bigcode", "bloom", "mpt"})
_FUSED = ("qkv", "query_key_value", "c_attn", "wqkv")
_WHOLE_LAST_LAYERS = frozenset({"gpt2", "gpt_neo", "gptj", "codegen", "gpt_bigcode", "imagegpt"})
"""Families whose code insists on all rows behind the last layer."""
_JOINED_MLP = frozenset({"gate_proj", "up_proj", "down_proj"})
_MLPS = frozenset({"mlp", "feed_forward", "ffn", "block_sparse_moe", "moe", "feedforward"})


@dataclass(frozen=True)
class Anatomy:
    """Widths of a model and what its layers keep for the backward pass.

    ``query`` and ``key`` are the widths of all heads together, ``inner`` the width between the
    feed-forward matrices. ``norm_inputs`` counts the different tensors of the model's width that
    norms read in one layer, ``norms`` the norms. ``joins_mlp``: the engine computes the
    feed-forward part in one function. ``kept_by_activation`` counts copies of ``inner``
    besides the output. ``spares_rows``: behind its attention the last layer computes only
    supervised rows. Sizes are numbers, not bytes.
    """

    layers: ModelLayers
    width: int
    vocabulary: int
    heads: int
    key_heads: int
    head: int
    inner: int
    norms: int
    norm_inputs: int
    upcasts_norms: bool
    head_norm_width: int
    is_gated: bool
    joins_mlp: bool
    kept_by_activation: int
    has_fused_attention: bool
    rotates: bool
    joins_rotary: bool
    caps_scores: bool
    caps_logits: bool
    window: int | None
    experts_per_token: int
    spares_rows: bool

    @property
    def query(self) -> int:
        """The width of the queries of all heads."""
        return self.heads * self.head

    @property
    def key(self) -> int:
        """The width of the keys of all heads."""
        return self.key_heads * self.head

    @property
    def model_type(self) -> str:
        """The family, as the configuration calls it."""
        return self.layers.model_type

    @cached_property
    def has_mlps(self) -> bool:
        """Whether the part of a layer for single tokens is a module that can be recomputed."""
        return any(
            m.layer is not None and not _MLPS.isdisjoint(m.name.split("."))
            for m in self.layers.modules
        )

    @cached_property
    def quantisable(self) -> tuple[ModelModule, ...]:
        """The modules that quantisation acts on, or acted on before they were stored."""
        modules = self.layers.modules
        if self.layers.stored != "none":
            return tuple(module for module in modules if module.is_packed)
        return tuple(
            module
            for module in (*modules, *self.layers.stacks)
            if module.form in ("linear", "conv1d", "experts")
            and is_quantisable(module.name, module.shape)
        )

    def get_quantisation(self, wish: str) -> str:
        """Return how the base is held where a recipe asks for ``wish``: what is stored so stays."""
        return wish if self.layers.stored == "none" else self.layers.stored

    @cached_property
    def quantisable_sizes(self) -> tuple[int, int, int]:
        """Weights and rows of the quantisable matrices together, and the largest one's weights.

        An expert's part of a stack is a matrix of its own.
        """
        modules = self.quantisable
        sizes = [module.in_features * module.out_features for module in modules]
        weights = sum(size * m.copies for size, m in zip(sizes, modules, strict=True))
        rows = sum(module.out_features * module.copies for module in modules)
        return weights, rows, max(sizes, default=0)

    @cached_property
    def layer_parameters(self) -> int:
        """Parameters that one token passes through in all layers together."""
        total = sum(m.parameters for m in self.layers.modules if m.layer is not None)
        if not self.experts_per_token:
            return total
        inside = [m for m in self.layers.modules if ".experts" in m.name]
        experts = sum(module.parameters for module in inside)
        numbers = {
            split_layer(module.name)[1].partition("experts.")[2].partition(".")[0]
            for module in inside
        }
        count = max(len(numbers), *(m.shape[0] if len(m.shape) == 3 else 1 for m in inside), 1)
        return total - experts + experts * min(count, self.experts_per_token) // count


def read_anatomy(layers: ModelLayers, config: Mapping[str, Any]) -> Anatomy:
    """Return the anatomy of a model from its layers and its ``config.json``.

    Raises:
        ModelUnusable: The configuration does not say how wide the model is.
    """
    text = config.get("text_config")
    values = text if isinstance(text, Mapping) else config
    kind = layers.model_type
    experts = _get_size(values, "num_experts_per_tok", default=0)
    typical = _get_typical_layer(layers)
    # What a configuration leaves to the defaults of its family the matrices tell.
    rows, table_width = _read_table(layers)
    width = _get_size(values, "hidden_size", "n_embd", "d_model", default=table_width)
    inner = _get_size(
        values, "intermediate_size", "n_inner", "ffn_dim",
        default=_read_outputs(typical, "up_proj") or 4 * width,
    )  # fmt: skip
    head, heads, keys = _read_heads(values, typical, width)
    norms = [module for module in typical if module.kind == "norm"]
    block_norms = [module for module in norms if module.shape == (width,)]
    names = [module.name.rpartition(".")[2] for module in typical]
    act = str(
        values.get("hidden_act")
        or values.get("hidden_activation")
        or values.get("activation_function")
        or ""
    )
    head_norms = [m for m in norms if m.name.rpartition(".")[2] in ("q_norm", "k_norm")]
    return Anatomy(
        layers=layers,
        width=width,
        vocabulary=_get_size(values, "vocab_size", default=rows or 1),
        heads=heads,
        key_heads=keys,
        head=head,
        inner=_get_size(values, "moe_intermediate_size", default=inner) if experts else inner,
        norms=max(1, len(block_norms) - len([m for m in head_norms if m in block_norms])),
        norm_inputs=1 if kind in _ONE_NORM_INPUT else max(1, _count_outer(block_norms)),
        # Norms without a bias are written in Python and compute in 32 bits.
        upcasts_norms=all(m.parameters == m.shape[0] for m in block_norms),
        head_norm_width=(heads + keys) * head if head_norms else 0,
        is_gated=any("gate" in name or name in ("w1", "w3") for name in names if name != "gate"),
        joins_mlp=not experts and _JOINED_MLP.issubset(names),
        kept_by_activation=_KEPT_BY_ACTIVATION.get(act, 1),
        has_fused_attention=any(name.startswith(_FUSED) or name == "W_pack" for name in names),
        rotates=kind not in _LEARNT_POSITIONS,
        joins_rotary=kind in _JOINED_ROTARY,
        caps_scores=bool(values.get("attn_logit_softcapping")),
        caps_logits=bool(values.get("final_logit_softcapping")),
        window=_get_window(values, kind),
        experts_per_token=experts,
        spares_rows=kind not in _WHOLE_LAST_LAYERS,
    )


def _read_table(layers: ModelLayers) -> tuple[int, int | None]:
    """Return rows and width of the largest embedding, which is that of the words; 0 and None."""
    shapes = [m.shape for m in layers.modules if m.kind == "embedding" and len(m.shape) == 2]
    rows, width = max(shapes, default=(0, 0))
    return rows, width or None


def _read_outputs(modules: list[ModelModule], name: str) -> int:
    """Return the outputs of the matrix of this name, 0 where there is none that tells."""
    found = (m.out_features for m in modules if m.name.rpartition(".")[2] == name)
    return next(found, 0)


def _read_heads(
    values: Mapping[str, Any], typical: list[ModelModule], width: int
) -> tuple[int, int, int]:
    """Return the width of a head, how many there are, and how many for keys and values."""
    names = ("num_attention_heads", "n_head", "n_heads")
    query, key = _read_outputs(typical, "q_proj"), _read_outputs(typical, "k_proj")
    head = _get_size(values, "head_dim", default=0)
    heads = _get_size(values, *names, default=0)
    if not heads:
        norms = (m.shape[0] for m in typical if m.name.endswith("q_norm"))
        head = head or next((size for size in norms if size < query), 0)
        heads = query // head if head and query else 1
        keys = _get_size(values, "num_key_value_heads", default=0)
        keys = keys or (key // head if head and key else heads)
    else:
        keys = _get_size(values, "num_key_value_heads", default=heads)
    return head or max(1, width // heads), heads, keys


def _get_window(values: Mapping[str, Any], kind: str) -> int | None:
    window = values.get("sliding_window")
    is_off = kind.startswith("qwen") and not values.get("use_sliding_window")
    return window if type(window) is int and window > 0 and not is_off else None


def _get_typical_layer(layers: ModelLayers) -> list[ModelModule]:
    """Return the modules of the last layer, which has experts where the first may have none."""
    last = layers.layer_count - 1
    return [module for module in layers.modules if module.layer == last]


def _count_outer(norms: list[ModelModule]) -> int:
    names = ("q_norm", "k_norm")
    return len([m for m in norms if m.name.rpartition(".")[2] not in names])


def _get_size(values: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    for name in names:
        value = values.get(name)
        if type(value) is int and value > 0:
            return value
    if default is None:
        raise ModelUnusable(
            f"The configuration of the model does not say how large it is ({names[0]}).",
            "Download the model again; its config.json is not complete.",
        )
    return default
