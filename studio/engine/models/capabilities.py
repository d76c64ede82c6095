"""What a model's own files say that training and chat must keep to: context, stops, sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import ModelUnusable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")


def get_context_tokens(config: Any) -> int | None:
    """Returns the most tokens that the model can read at once, or None if its config is silent."""
    text_config = config.get_text_config()
    for name in _CONTEXT_NAMES:
        value = getattr(text_config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None


def read_stop_ids(folder: Path, config: Any) -> tuple[int, ...]:
    """Returns the tokens that end generation, as the model's generation settings list them."""
    path = folder / "generation_config.json"
    value = getattr(config.get_text_config(), "eos_token_id", None)
    if path.is_file():
        try:
            value = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id", value)
        except (OSError, ValueError, AttributeError) as error:
            raise ModelUnusable(
                f"{path} is damaged: {error}.", "Copy or download the model again."
            ) from error
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (int(value),)


def estimate_activation_bytes(model: PreTrainedModel, checkpointing: str = "none") -> int:
    """Returns roughly how many bytes one token keeps for the backward pass, all layers together.

    Twice the closed formula for one copy of each layer's inputs: model code of other people keeps
    about that much.
    """
    config = model.config.get_text_config()
    width = int(config.hidden_size)
    heads = int(getattr(config, "num_attention_heads", 1) or 1)
    head_width = int(getattr(config, "head_dim", None) or width // heads)
    key_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    inner = int(getattr(config, "intermediate_size", None) or getattr(config, "n_inner", 0) or 0)
    inner = inner or 4 * width
    query, key = heads * head_width, key_heads * head_width
    numbers = 2 * (2 * width + 2 * query + 2 * key)
    if checkpointing != "mlp":
        numbers += 4 * inner
    size = int(config.num_hidden_layers) * numbers * int(model.dtype.itemsize)
    # one input per layer and one layer at a time
    return size // 8 if checkpointing == "all" else size
