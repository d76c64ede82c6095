"""The number formats of GGUF tensors: their sizes and how float values become their bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import gguf
import numpy as np
import torch

from studio.core.errors import ModelUnusable
from studio.engine.export.gguf.kquants import K_QUANTS, quantise

# The first number that rounds to infinity in 16 bits.
_TOO_LARGE_FOR_F16 = 65520.0
Format = gguf.GGMLQuantizationType


def count_bytes(shape: Sequence[int], kind: Format) -> int:
    """Returns the size of a tensor of ``shape`` in a format."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    return math.prod(shape) // block * size


def fits(columns: int, kind: Format) -> bool:
    """Returns whether rows of ``columns`` values divide into whole blocks of a format."""
    return columns % gguf.GGML_QUANT_SIZES[kind][0] == 0


def encode(values: torch.Tensor, kind: Format, name: str) -> memoryview:
    """Returns the bytes of ``values`` ``(rows, columns)``, fp32, in a format.

    Raises:
        ModelUnusable: A value is not finite or too large for the format; names ``name``.
    """
    size = _find_largest(values)
    if not math.isfinite(size):
        raise ModelUnusable(
            f"{name} with the adapter holds numbers that are not finite (NaN or infinity).",
            "Choose an earlier checkpoint; this training went wrong.",
        )
    values = values.contiguous()
    if kind == Format.F32:
        return _view(values)
    if kind == Format.BF16:
        return _view(values.to(torch.bfloat16))
    if kind == Format.F16:
        if size >= _TOO_LARGE_FOR_F16:
            raise ModelUnusable(
                f"{name} holds a number too large for the format f16 (more than 65504).",
                "Choose the format bf16, or a quantised one.",
            )
        return _view(values.to(torch.float16))
    if kind in K_QUANTS:
        return _view(quantise(values, kind))
    quantised = gguf.quants.quantize(values.numpy(), kind)
    return np.ascontiguousarray(quantised).data.cast("B")


def _find_largest(values: torch.Tensor) -> float:
    """Returns the largest size of a value, or what is not finite, in one pass over them."""
    if values.numel() == 0:
        return 0.0
    low, high = torch.aminmax(values)
    return float(torch.maximum(-low, high))


def _view(values: torch.Tensor) -> memoryview:
    return values.contiguous().view(torch.uint8).cpu().numpy().data.cast("B")
