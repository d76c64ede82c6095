"""Tiny models with random weights in the shapes of real families."""

from __future__ import annotations

import torch
import transformers
from torch import nn

_DECODER = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
    "pad_token_id": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GPT2 = {
    "vocab_size": 64,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_NEOX = {key: value for key, value in _DECODER.items() if key != "num_key_value_heads"}
CONFIGS = {
    "llama": (transformers.LlamaConfig, _DECODER),
    "qwen3": (transformers.Qwen3Config, _DECODER | {"head_dim": 8}),
    "mistral": (transformers.MistralConfig, _DECODER | {"head_dim": 8}),
    "gemma3": (transformers.Gemma3TextConfig, _DECODER | {"head_dim": 8}),
    "mamba": (
        transformers.MambaConfig,
        {key: _DECODER[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers")}
        | {"state_size": 4, "time_step_rank": 4, "tie_word_embeddings": False},
    ),
    "phi": (transformers.PhiConfig, _DECODER),
    "gpt_neox": (transformers.GPTNeoXConfig, _NEOX),
    "gpt2": (transformers.GPT2Config, _GPT2),
}


def build_config(family: str, **changes: object) -> transformers.PretrainedConfig:
    """Returns the tiny configuration of ``family``."""
    kind, values = CONFIGS[family]
    return kind(**(values | changes))


def build_model(
    family: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, **changes: object
) -> nn.Module:
    """Returns a tiny causal language model of ``family`` in training mode."""
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(
        build_config(family, **changes), attn_implementation="eager", trust_remote_code=False
    )
    with torch.no_grad():  # norms and biases away from one and zero, so that mistakes show
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model.to(dtype).train()


def build_batch(seed: int = 0, rows: int = 3, tokens: int = 12) -> torch.Tensor:
    """Returns token ids ``(rows, tokens)``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 64, (rows, tokens), generator=generator)


def compute_loss(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """Returns the mean next-token loss."""
    loss: torch.Tensor = model(input_ids=ids, labels=ids).loss
    return loss
