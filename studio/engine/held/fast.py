"""bitsandbytes as the fast path for 4-bit weights on cards: used only where it proved equal."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from studio.engine.held.buffer import borrow_buffer
from studio.engine.held.levels import NF4_LEVELS, get_dynamic_levels
from studio.engine.held.scales import NestedScales
from studio.engine.quant import nf4
from studio.engine.quant.nf4 import Nf4Weights

_SHAPES = ((96, 320), (64, 96), (48, 40))
"""Rows that are whole blocks, and rows that end amid a block."""
_FAULTS = (ImportError, OSError, RuntimeError, AttributeError, TypeError, ValueError, KeyError)
"""How a wheel for another driver, card or version of torch fails; then it is not used."""


@dataclass(frozen=True)
class SelfTest:
    """Whether bitsandbytes may unfold 4-bit weights on a device, and why, in words."""

    is_equal: bool
    words: str
    version: str = ""


def run_self_test(device: torch.device, shapes: Sequence[tuple[int, int]] = _SHAPES) -> SelfTest:
    """Returns whether bitsandbytes unfolds weights on ``device`` exactly as plain torch does.

    Version 0.50 does not on processors, where the width is a multiple of 32 but not of 64.
    """
    try:
        library = _import()
    except _FAULTS as error:
        return SelfTest(is_equal=False, words=f"it does not start: {_get_line(error)}")
    version = str(getattr(library, "__version__", "unknown"))
    generator = torch.Generator().manual_seed(0)
    for shape, dtype in product(shapes, (torch.float32, torch.bfloat16)):
        weights = nf4.quantise(torch.randn(shape, generator=generator).to(device))
        expected = weights.unfold().to(dtype)
        try:
            found = _unfold(weights, dtype, None)
        except _FAULTS as error:
            return SelfTest(is_equal=False, words=f"it fails: {_get_line(error)}", version=version)
        if found.shape != expected.shape or not torch.equal(found, expected):
            words = f"its numbers are wrong for {shape[0]} x {shape[1]} weights"
            return SelfTest(is_equal=False, words=words, version=version)
    return SelfTest(is_equal=True, words="its numbers are exact", version=version)


def choose_path(device: torch.device) -> SelfTest:
    """Lets bitsandbytes unfold 4-bit weights where that is faster and exact; returns the test.

    On processors plain torch is used without a test.
    """
    if device.type != "cuda":
        return SelfTest(is_equal=False, words="it is used on graphics cards only")
    result = run_self_test(device)
    Nf4Weights.fast_unfold = staticmethod(_unfold_on_card) if result.is_equal else None
    return result


def _unfold_on_card(weights: Nf4Weights, dtype: torch.dtype) -> Tensor:
    return _unfold(weights, dtype, borrow_buffer(weights.shape, dtype, weights.device))


def _unfold(weights: Nf4Weights, dtype: torch.dtype, out: Tensor | None) -> Tensor:
    functional = _import().functional
    found: Tensor = functional.dequantize_4bit(
        weights.codes, _build_state(functional, weights, dtype), out=out
    )
    return found


def _build_state(functional: Any, weights: Nf4Weights, dtype: torch.dtype) -> Any:
    if weights.levels != NF4_LEVELS:
        raise ValueError("these are other levels than those of NF4")
    settings: dict[str, Any] = {
        "shape": torch.Size(weights.shape),
        "blocksize": weights.block,
        "quant_type": "nf4",
        "dtype": dtype,
    }
    scales = weights.scales
    if not isinstance(scales, NestedScales):
        return functional.QuantState(absmax=scales.unfold(), **settings)
    levels = scales.levels or get_dynamic_levels(scales.places.device, is_signed=True)
    nested = functional.QuantState(
        absmax=scales.scales, blocksize=scales.block, code=levels.values, dtype=torch.float32
    )
    return functional.QuantState(
        absmax=scales.places, offset=scales.offset, state2=nested, **settings
    )


def _import() -> Any:
    # It reports optional parts that it misses, once per import, as if something were wrong.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    return importlib.import_module("bitsandbytes")


def _get_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
