"""The text model inside a model that also sees images: its config and its names of tensors."""

from __future__ import annotations

import re
from typing import Any

# Kinds of models around a text model that is itself a family of llama.cpp.
_WRAPPERS = ("gemma3",)
_OTHER = re.compile(r"^(?:model\.)?(?:vision_tower|multi_modal_projector)\.")
_TEXT = re.compile(r"^(?:model\.language_model|language_model\.model)\.")


def get_text_part(config: Any) -> Any:
    """Returns the config of the text model, ``config`` itself where there is nothing else."""
    return config.text_config if config.model_type in _WRAPPERS else config


def has_other_parts(config: Any) -> bool:
    """Returns whether a GGUF file of the text model leaves something of the model out."""
    return get_text_part(config) is not config


def name_in_text(name: str) -> str | None:
    """Returns what the text model alone calls the tensor ``name``; None where it has none.

    Files of earlier versions of transformers put the parts of the name in another order.
    """
    if _OTHER.match(name):
        return None
    return _TEXT.sub("model.", name).removeprefix("language_model.")
