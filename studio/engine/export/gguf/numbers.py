"""The number formats of GGUF tensors: their sizes and how float values become their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import gguf
import numpy as np
import torch

from studio.core.errors import ModelUnusable
from studio.engine.export.gguf.kquants import K_QUANTS, quantise

Format = gguf.GGMLQuantizationType


def count_bytes(shape: Sequence[int], kind: Format) -> int:
    """Returns the size of a tensor of ``shape`` in a format."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    return prod(shape) // block * size


def fits(columns: int, kind: Format) -> bool:
    """Returns whether rows of ``columns`` values divide into whole blocks of a format."""
    return columns % gguf.GGML_QUANT_SIZES[kind][0] == 0


def encode(values: torch.Tensor, kind: Format, name: str) -> memoryview:
    """Returns the bytes of ``values`` ``(rows, columns)``, fp32, in a format.

    Raises:
        ModelUnusable: A value is not finite or too large for the format; names ``name``.
    """
    if not torch.isfinite(values).all():
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
        halves = values.to(torch.float16)
        if torch.isinf(halves).any():
            raise ModelUnusable(
                f"{name} holds a number too large for the format f16 (more than 65504).",
                "Choose the format bf16, or a quantised one.",
            )
        return _view(halves)
    if kind in K_QUANTS:
        return _view(quantise(values, kind))
    quantised = gguf.quants.quantize(values.numpy(), kind)
    return np.ascontiguousarray(quantised).data.cast("B")


def _view(values: torch.Tensor) -> memoryview:
    return values.contiguous().view(torch.uint8).cpu().numpy().data.cast("B")
