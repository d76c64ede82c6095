"""The tensors of a model from its configuration alone, for models that are not downloaded yet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from studio.core.errors import ModelUnusable
from studio.core.weights.header import TensorEntry
from studio.core.weights.stored import predict_packed

Config = Mapping[str, Any]
Shapes = Iterator[tuple[str, tuple[int, ...]]]

_BYTES = {"F32": 4, "BF16": 2, "F16": 2}
_DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
_MOST_LAYERS = 1000


def build_tensors(config: Config) -> tuple[TensorEntry, ...]:
    """Return the tensors that a model with this ``config.json`` has, named as in its files.

    A head that is shared with the embedding is not listed, as in the files. Where the files hold
    weights in few bits, so do these entries.

    Raises:
        ModelUnusable: The family is not known here, or the configuration lacks a size.
    """
    return tuple(predict_packed(config, build_plain_tensors(config)))


def build_plain_tensors(config: Config) -> tuple[TensorEntry, ...]:
    """Return the tensors that a model with this ``config.json`` has before it is quantised.

    Raises:
        ModelUnusable: The family is not known here, or the configuration lacks a size.
    """
    kind = str(config.get("model_type", ""))
    family = _FAMILIES.get(kind)
    if family is None:
        raise ModelUnusable(
            f"The sizes of a model of type {kind or 'unknown'} cannot be told from its "
            "configuration alone.",
            "Download the model; its files tell everything.",
            code="shapes_unknown",
        )
    dtype = _DTYPES.get(str(config.get("torch_dtype") or config.get("dtype")), "F32")
    entries, position = [], 0
    try:
        for name, shape in family(config):
            size = math.prod(shape) * _BYTES[dtype]
            entries.append(TensorEntry(name, dtype, shape, position, position + size))
            position += size
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelUnusable(
            f"The configuration of this model ({kind}) lacks a size: {error}.",
            "Download the model again; its config.json is not complete.",
        ) from error
    return tuple(entries)


def is_known_family(model_type: str) -> bool:
    """Return whether ``build_tensors`` knows models of this type."""
    return model_type in _FAMILIES


def _count_layers(config: Config, key: str = "num_hidden_layers") -> range:
    count = int(config[key])
    if not 0 < count <= _MOST_LAYERS:
        raise ValueError(f"{key} is {count}")
    return range(count)


def _llama(config: Config) -> Shapes:
    """Llama and all that differ from it by biases, norms, fused matrices or experts only."""
    kind = str(config["model_type"])
    width = int(config["hidden_size"])
    yield "model.embed_tokens.weight", (int(config["vocab_size"]), width)
    for index in _count_layers(config):
        before = f"model.layers.{index}."
        for name, shape in _llama_attention(config, kind, width):
            yield f"{before}self_attn.{name}", shape
        for name, shape in _llama_mlp(config, kind, width):
            yield f"{before}{name}", shape
        for name in _BLOCK_NORMS.get(kind, ("input_layernorm", "post_attention_layernorm")):
            yield f"{before}{name}.weight", (width,)
    yield "model.norm.weight", (width,)
    if not config.get("tie_word_embeddings", kind in _TIED):
        yield "lm_head.weight", (int(config["vocab_size"]), width)


def _llama_attention(config: Config, kind: str, width: int) -> Shapes:
    heads = int(config["num_attention_heads"])
    head = int(config.get("head_dim") or width // heads)
    query, key = heads * head, int(config.get("num_key_value_heads") or heads) * head
    if kind == "phi3":
        yield "qkv_proj.weight", (query + 2 * key, width)
    else:
        has_bias = kind == "qwen2" or bool(config.get("attention_bias"))
        for name, size in (("q_proj", query), ("k_proj", key), ("v_proj", key)):
            yield f"{name}.weight", (size, width)
            if has_bias:
                yield f"{name}.bias", (size,)
    yield "o_proj.weight", (width, query)
    if config.get("attention_bias") and kind != "qwen2":
        yield "o_proj.bias", (width,)
    if kind in ("qwen3", "qwen3_moe", "gemma3_text"):
        yield from (("q_norm.weight", (head,)), ("k_norm.weight", (head,)))
    elif kind == "olmo2":
        yield from (("q_norm.weight", (query,)), ("k_norm.weight", (key,)))


def _llama_mlp(config: Config, kind: str, width: int) -> Shapes:
    inner = int(config["intermediate_size"])
    if kind in ("mixtral", "qwen3_moe"):
        yield from _experts(config, kind, width)
    elif kind == "phi3":
        yield from (
            ("mlp.gate_up_proj.weight", (2 * inner, width)),
            ("mlp.down_proj.weight", (width, inner)),
        )
    else:
        for name, shape in (
            ("gate_proj", (inner, width)),
            ("up_proj", (inner, width)),
            ("down_proj", (width, inner)),
        ):
            yield f"mlp.{name}.weight", shape
            if config.get("mlp_bias"):
                yield f"mlp.{name}.bias", (shape[0],)


def _experts(config: Config, kind: str, width: int) -> Shapes:
    is_mixtral = kind == "mixtral"
    # Newer files call the number of experts by one name in every family.
    count = int(config["num_experts" if "num_experts" in config else "num_local_experts"])
    inner = int(config["intermediate_size" if is_mixtral else "moe_intermediate_size"])
    where = "block_sparse_moe" if is_mixtral else "mlp"
    up, gate, down = ("w3", "w1", "w2") if is_mixtral else ("up_proj", "gate_proj", "down_proj")
    yield f"{where}.gate.weight", (count, width)
    for index in range(count):
        yield f"{where}.experts.{index}.{gate}.weight", (inner, width)
        yield f"{where}.experts.{index}.{up}.weight", (inner, width)
        yield f"{where}.experts.{index}.{down}.weight", (width, inner)


def _gpt2(config: Config) -> Shapes:
    width = int(config["n_embd"])
    inner = int(config.get("n_inner") or 4 * width)
    yield "transformer.wte.weight", (int(config["vocab_size"]), width)
    yield "transformer.wpe.weight", (int(config["n_positions"]), width)
    for index in _count_layers(config, "n_layer"):
        for name, sizes in (
            ("attn.c_attn", (width, 3 * width)),
            ("attn.c_proj", (width, width)),
            ("mlp.c_fc", (width, inner)),
            ("mlp.c_proj", (inner, width)),
        ):
            yield f"transformer.h.{index}.{name}.weight", sizes
            yield f"transformer.h.{index}.{name}.bias", (sizes[1],)
        yield from _layer_norms(f"transformer.h.{index}", ("ln_1", "ln_2"), width)
    yield from _layer_norms("transformer", ("ln_f",), width)


def _gpt_neox(config: Config) -> Shapes:
    width, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    yield "gpt_neox.embed_in.weight", (int(config["vocab_size"]), width)
    for index in _count_layers(config):
        for name, sizes in (
            ("attention.query_key_value", (3 * width, width)),
            ("attention.dense", (width, width)),
            ("mlp.dense_h_to_4h", (inner, width)),
            ("mlp.dense_4h_to_h", (width, inner)),
        ):
            yield f"gpt_neox.layers.{index}.{name}.weight", sizes
            if name.startswith("mlp") or config.get("attention_bias", True):
                yield f"gpt_neox.layers.{index}.{name}.bias", (sizes[0],)
        norms = ("input_layernorm", "post_attention_layernorm")
        yield from _layer_norms(f"gpt_neox.layers.{index}", norms, width)
    yield from _layer_norms("gpt_neox", ("final_layer_norm",), width)
    if not config.get("tie_word_embeddings", False):
        yield "embed_out.weight", (int(config["vocab_size"]), width)


def _phi(config: Config) -> Shapes:
    width, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    heads = int(config["num_attention_heads"])
    key = int(config.get("num_key_value_heads") or heads) * (width // heads)
    vocabulary = int(config["vocab_size"])
    yield "model.embed_tokens.weight", (vocabulary, width)
    for index in _count_layers(config):
        for name, sizes in (
            ("self_attn.q_proj", (width, width)),
            ("self_attn.k_proj", (key, width)),
            ("self_attn.v_proj", (key, width)),
            ("self_attn.dense", (width, width)),
            ("mlp.fc1", (inner, width)),
            ("mlp.fc2", (width, inner)),
        ):
            yield f"model.layers.{index}.{name}.weight", sizes
            yield f"model.layers.{index}.{name}.bias", (sizes[0],)
        yield from _layer_norms(f"model.layers.{index}", ("input_layernorm",), width)
    yield from _layer_norms("model", ("final_layernorm",), width)
    yield "lm_head.weight", (vocabulary, width)
    yield "lm_head.bias", (vocabulary,)


def _layer_norms(before: str, names: tuple[str, ...], width: int) -> Shapes:
    for name in names:
        yield f"{before}.{name}.weight", (width,)
        yield f"{before}.{name}.bias", (width,)


_TIED = frozenset({"gemma", "gemma2", "gemma3_text", "smollm3"})
_FOUR_NORMS = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)
_BLOCK_NORMS: Mapping[str, tuple[str, ...]] = {
    "gemma2": _FOUR_NORMS,
    "gemma3_text": _FOUR_NORMS,
    "olmo2": ("post_attention_layernorm", "post_feedforward_layernorm"),
}
_LLAMA_LIKE = (
    "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "olmo2",
    "granite", "smollm3", "mixtral", "qwen3_moe",
)  # fmt: skip
_FAMILIES: Mapping[str, Callable[[Config], Shapes]] = {
    **dict.fromkeys(_LLAMA_LIKE, _llama),
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "phi": _phi,
}
