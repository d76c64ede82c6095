"""The names that PEFT gives to the tensors of an adapter file, read and written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Part = Literal["A", "B", "magnitude", "tokens", "weight"]

PREFIX = "base_model.model."
_MATRIX = re.compile(
    r"^(?P<name>.+)\.(?:lora_(?P<factor>[AB])(?:\.default)?\.weight"
    r"|lora_embedding_(?P<lookup>[AB])(?:\.default)?"
    r"|lora_magnitude_vector(?:\.default)?(?:\.weight)?)$"
)
_TOKENS = re.compile(r"^(?P<name>.+)\.token_adapter\.trainable_tokens_delta(?:\.default)?$")
_WEIGHT = re.compile(
    r"^(?P<name>.+?)(?:\.modules_to_save(?:\.default)?|\.base_layer)?\.(?P<parameter>\w+)$"
)


@dataclass(frozen=True)
class TensorKey:
    """What a tensor is: a ``part`` of module ``module``.

    ``tokens`` are replaced rows of a table; ``weight`` is a whole parameter, whose own name is
    ``parameter``, of a module that was trained in full or saved along.
    """

    module: str
    part: Part
    is_lookup: bool = False
    parameter: str = ""


def parse_key(key: str) -> TensorKey | None:
    """Returns what the tensor named ``key`` is, or None where the name is no name of PEFT's."""
    if not key.startswith(PREFIX):
        return None
    rest = key.removeprefix(PREFIX)
    match = _MATRIX.match(rest)
    if match is not None:
        letter = match["factor"] or match["lookup"]
        part: Part = "magnitude" if letter is None else "A" if letter == "A" else "B"
        return TensorKey(match["name"], part, is_lookup=match["lookup"] is not None)
    match = _TOKENS.match(rest)
    if match is not None:
        return TensorKey(match["name"], "tokens")
    match = _WEIGHT.match(rest)
    if match is None or "lora_" in rest or "token_adapter" in rest:
        return None
    return TensorKey(match["name"], "weight", parameter=match["parameter"])


def build_key(module: str, part: str, *, is_lookup: bool = False) -> str:
    """Returns the name of a part of an adapted module, as PEFT writes it."""
    if part == "magnitude":
        return f"{PREFIX}{module}.lora_magnitude_vector"
    if is_lookup:
        return f"{PREFIX}{module}.lora_embedding_{part}"
    return f"{PREFIX}{module}.lora_{part}.weight"


def build_tokens_key(module: str) -> str:
    """Returns the name of the replaced rows of a table, as PEFT writes it."""
    return f"{PREFIX}{module}.token_adapter.trainable_tokens_delta"


def build_weight_key(name: str) -> str:
    """Returns the name of a whole parameter, as PEFT writes it; ``name`` is its full name."""
    return PREFIX + name
