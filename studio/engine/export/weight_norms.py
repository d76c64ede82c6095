"""The sizes of a base's weights, read from its files block by block."""

from __future__ import annotations

import math
import re
from pathlib import Path

from studio.engine.export.plan import find_tensor
from studio.engine.export.shards import PlannedTensor, StoredTensor, iter_new_rows, read_shards

_EXPERT_PARTS = {"gate_up_proj": "gate_proj|up_proj|w1|w3", "down_proj": "down_proj|w2"}


class WeightNorms:
    """Measures each weight once; memory use is a few blocks of 32 MiB.

    Raises:
        ModelUnusable: A header of the model is broken, or a file is missing.
        FileUnusable: A file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        shards = read_shards(folder)
        self._tensors = {tensor.name: tensor for shard in shards.values() for tensor in shard}
        self._known: dict[str, float | None] = {}

    def measure(self, module: str) -> float | None:
        """Returns the Frobenius norm of a module's weight; None where no file holds it as numbers.

        ``module`` may also be a parameter of stacked experts.

        Raises:
            ModelUnusable: The file is too short.
            FileUnusable: The file cannot be read.
        """
        if module not in self._known:
            found = self._find(module)
            is_readable = bool(found) and all(tensor.is_plain for tensor in found)
            self._known[module] = math.hypot(*map(_measure, found)) if is_readable else None
        return self._known[module]

    def _find(self, module: str) -> list[StoredTensor]:
        for name in (f"{module}.weight", module):
            found = find_tensor(name, self._tensors)
            if found is not None:
                return [found]
        owner, _, stack = module.rpartition(".")
        if stack not in _EXPERT_PARTS:
            return []
        single = re.compile(rf"{re.escape(owner)}\.\d+\.(?:{_EXPERT_PARTS[stack]})\.weight$")
        return [tensor for name, tensor in self._tensors.items() if single.match(name)]


def _measure(tensor: StoredTensor) -> float:
    blocks = iter_new_rows(PlannedTensor(tensor.name, tensor))
    return math.sqrt(sum(float(block.double().square().sum()) for block in blocks))
