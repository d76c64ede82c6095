"""A tiny base folder with random weights for each model family that can become a GGUF file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from tests.engine.tiny_run import VOCABULARY, build_tokenizer

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": 256,
}
_WIDE = {"head_dim": 16}
_GEMMA = {"head_dim": 8, "tie_word_embeddings": True, "query_pre_attn_scalar": 8}
_LONG = {
    "rope_type": "longrope",
    "original_max_position_embeddings": 512,
    "factor": 2.0,
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [1.5, 2.0, 2.5, 3.0],
}
_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}


def _turn(**rope: object) -> dict[str, Any]:
    return {"rope_parameters": {"rope_theta": 10000.0, **rope}}


def _make_gemma3(**text: object) -> Any:
    """Returns the config of a model that sees images, around a text model."""
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
              "num_attention_heads": 2, "image_size": 28, "patch_size": 14}  # fmt: skip
    return transformers.Gemma3Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=4,
        boi_token_index=257,
        eoi_token_index=258,
        image_token_index=259,
        tie_word_embeddings=text["tie_word_embeddings"],
    )


_MAKERS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "llama": (transformers.LlamaConfig, {}),
    "llama tied": (transformers.LlamaConfig, {"tie_word_embeddings": True}),
    "llama biases": (transformers.LlamaConfig, {"attention_bias": True, "mlp_bias": True}),
    "llama 3 positions": (transformers.LlamaConfig, _turn(**_LLAMA3)),
    "llama linear": (transformers.LlamaConfig, _turn(rope_type="linear", factor=4.0)),
    "llama yarn": (transformers.LlamaConfig, _turn(**_YARN)),
    "mistral": (transformers.MistralConfig, {"sliding_window": None, **_WIDE}),
    "qwen2": (transformers.Qwen2Config, {}),
    "qwen3": (transformers.Qwen3Config, {**_WIDE, "tie_word_embeddings": True}),
    "qwen3_moe": (
        transformers.Qwen3MoeConfig,
        {
            **_WIDE,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 24,
            "norm_topk_prob": True,
        },
    ),
    "gemma": (transformers.GemmaConfig, {"head_dim": 8, "tie_word_embeddings": True}),
    "gemma2": (transformers.Gemma2Config, {**_GEMMA, "sliding_window": 8}),
    "gemma3": (
        transformers.Gemma3TextConfig,
        {**_GEMMA, "sliding_window": 8, "num_hidden_layers": 7},
    ),
    "gemma3 with images": (_make_gemma3, {**_GEMMA, "sliding_window": 8, "num_hidden_layers": 7}),
    "phi3": (transformers.Phi3Config, {}),
    "phi3 partly rotated": (
        transformers.Phi3Config,
        _turn(rope_type="default", partial_rotary_factor=0.5),
    ),
    "phi3 long": (
        transformers.Phi3Config,
        {
            **_turn(**_LONG),
            "max_position_embeddings": 1024,
            "original_max_position_embeddings": 512,
        },
    ),
    "smollm3": (transformers.SmolLM3Config, {"num_hidden_layers": 5}),
    "olmo2": (transformers.Olmo2Config, {}),
    "gpt2": (
        transformers.GPT2Config,
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "tie_word_embeddings": True},
    ),
}
FAMILIES = tuple(_MAKERS)


def build_family(folder: Path, family: str, **changes: object) -> nn.Module:
    """Writes base and tokenizer of ``family`` into ``folder``; returns the model."""
    kind, values = _MAKERS[family]
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(
        kind(**(_SIZES | values | changes)), attn_implementation="eager", trust_remote_code=False
    )
    with torch.no_grad():  # norms and biases away from one and zero, so that mistakes show
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    model.eval().save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return model
