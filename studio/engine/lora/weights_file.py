"""The bytes of an adapter's weights file, which notices when it was damaged."""

from __future__ import annotations

from collections.abc import Mapping

from safetensors.torch import save
from torch import Tensor

from studio.core.weights.adapter_file import SeenBase
from studio.core.weights.checksum import add_checksum


def build_weights_file(tensors: Mapping[str, Tensor], seen: SeenBase) -> bytes:
    """Returns the file that holds ``tensors`` by PEFT's names, on the CPU, and notes of the base.

    It is made in memory: an adapter is small, and Python's own write reports a full disk.
    """
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return add_checksum(save(contiguous, {"format": "pt"} | seen.as_metadata()))
