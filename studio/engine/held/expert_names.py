"""What files call the projections of experts that they hold one by one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_PARTS = {
    "gate_up_proj": (("gate_proj", "up_proj"), ("w1", "w3")),
    "up_proj": (("up_proj",), ("w1",)),
    "down_proj": (("down_proj",), ("w2",)),
}
"""What a stacked projection consists of, as the files of model families name it."""


def find_single_names(
    name: str, experts: Any, count: int, tensors: Iterable[str]
) -> list[tuple[str, ...]]:
    """Returns what a file calls the parts of each expert of the stack ``name``, gate before up.

    ``experts`` is the module with ``count`` experts that the stack belongs to. Empty where the
    file has no tensors of single experts, or where the stack mixes the rows of its parts.
    """
    if experts.is_transposed or not getattr(experts, "is_concatenated", True):
        return []
    prefix = re.match(r".*?\.\d+\.", name)
    known = [tensor for tensor in tensors if prefix and tensor.startswith(prefix[0])]
    for parts in _PARTS[name.rpartition(".")[2]]:
        pattern = re.compile(rf"\.experts\.(\d+)\.({'|'.join(parts)})\.weight$")
        places = {
            (int(match[1]), match[2]): tensor
            for tensor in known
            if (match := pattern.search(tensor))
        }
        if len(places) == count * len(parts):
            return [tuple(places[expert, part] for part in parts) for expert in range(count)]
    return []
