"""What a model's own files say that training and chat must keep to: context, stops, sizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import ModelUnusable
from studio.core.json_text import parse_json
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
            value = parse_json(path.read_text(encoding="utf-8")).get("eos_token_id", value)
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
    heads = get_head_sizes(config)
    inner = find_largest(config, "intermediate_size") or find_largest(config, "n_inner") or 0
    experts = find_largest(config, "num_experts_per_tok")
    if experts:
        inner = experts * (find_largest(config, "moe_intermediate_size") or inner)
    return RoughSize(
        layers=int(config.num_hidden_layers),
        width=width,
        query=heads.count * heads.width,
        key=heads.key_count * heads.width,
        inner=inner or 4 * width,
        number_bytes=int(model.dtype.itemsize),
    )


@dataclass(frozen=True)
class HeadSizes:
    """The heads of a model's attention, the largest ones where its layers differ."""

    count: int
    key_count: int
    width: int


def get_head_sizes(config: Any) -> HeadSizes:
    """Returns the heads that the ``config`` of a model for text describes."""
    count = find_largest(config, "num_attention_heads") or 1
    return HeadSizes(
        count,
        find_largest(config, "num_key_value_heads") or count,
        find_largest(config, "head_dim") or int(config.hidden_size) // count,
    )


def find_largest(config: Any, name: str) -> int | None:
    """Returns a number of a model's config, of its layers' the largest; None if it is silent."""
    try:
        values = getattr(config, name, None)
    except RuntimeError:  # what transformers raises where the layers differ, as in Gemma 4
        values = [getattr(layer, name, None) for layer in config.per_layer_config]
    found = values if isinstance(values, list | tuple) else [values]
    return max((int(one) for one in found if one), default=None)
