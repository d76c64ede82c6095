"""What a model's own files say that training and chat must keep to: context, stops, sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import ModelUnusable
from studio.core.memory.auto import RoughSize

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


def get_known_tokens(config: Any) -> int | None:
    """Returns how many tokens the model has rows for, or None if its config is silent."""
    value = getattr(config.get_text_config(), "vocab_size", None)
    return value if isinstance(value, int) and value > 0 else None


def check_known(largest: int, known: int | None, token: str = "") -> None:
    """Returns quietly when the model has a row for the token with the number ``largest``.

    ``token`` is what the tokenizer calls it.

    Raises:
        ModelUnusable: The tokenizer makes tokens that the model does not know.
    """
    if known is None or largest < known:
        return
    name = f"“{token}” (token {largest:,})" if token else f"the token {largest:,}"
    raise ModelUnusable(
        f"The tokenizer makes {name}, but the model knows only {known:,} tokens: they do not "
        "belong together.",
        "Choose the tokenizer files that came with the model, or leave out the texts that hold "
        "tokens it does not know.",
    )


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


def get_rough_size(model: PreTrainedModel) -> RoughSize:
    """Returns the widths by which automatic settings are chosen."""
    config = model.config.get_text_config()
    width = int(config.hidden_size)
    heads = int(getattr(config, "num_attention_heads", 1) or 1)
    head_width = int(getattr(config, "head_dim", None) or width // heads)
    key_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    inner = int(getattr(config, "intermediate_size", None) or getattr(config, "n_inner", 0) or 0)
    experts = int(getattr(config, "num_experts_per_tok", None) or 0)
    if experts:
        inner = experts * int(getattr(config, "moe_intermediate_size", None) or inner)
    return RoughSize(
        layers=int(config.num_hidden_layers),
        width=width,
        query=heads * head_width,
        key=key_heads * head_width,
        inner=inner or 4 * width,
        number_bytes=int(model.dtype.itemsize),
    )
