"""Smoothing of noisy curves: an exponential average without the bias of its start."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK_POINTS = 64


def smooth(values: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """Returns the debiased exponential moving average, as long as ``values``.

    ``weight`` in [0, 1) is how much of the past is kept. The first point equals the first value
    (no pull towards zero). Values that are not finite are left out; before the first finite one
    the result is NaN.

    Source: the bias correction of Kingma and Ba, "Adam", section 3.
    """
    if not 0 <= weight < 1:
        raise ValueError(f"weight {weight} is not in [0, 1)")
    is_finite = np.isfinite(values)
    clean = np.where(is_finite, values, 0.0)
    total = _average(clean, weight)
    mass = _average(is_finite.astype(np.float64), weight)
    result = np.full(len(values), np.nan)
    np.divide(total, mass, out=result, where=mass > 0)
    return result


def _average(values: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """Returns y[t] = weight * y[t-1] + (1 - weight) * x[t] with y[-1] = 0.

    Blocks are a product with a triangular matrix; only the carry between blocks is a Python loop,
    so that 100,000 points take a few milliseconds.
    """
    count = len(values)
    if count == 0:
        return np.empty(0)
    blocks = -(-count // _BLOCK_POINTS)
    padded = np.zeros(blocks * _BLOCK_POINTS)
    padded[:count] = values
    lag = np.subtract.outer(np.arange(_BLOCK_POINTS), np.arange(_BLOCK_POINTS))
    kernel = np.where(lag >= 0, (1 - weight) * np.power(weight, np.maximum(lag, 0)), 0.0)
    inside = padded.reshape(blocks, _BLOCK_POINTS) @ kernel.T
    decay = np.power(weight, np.arange(1, _BLOCK_POINTS + 1))
    carries = np.empty(blocks)
    carry = 0.0
    for block, last in enumerate(inside[:, -1].tolist()):
        carries[block] = carry
        carry = last + decay[-1] * carry
    return (inside + np.outer(carries, decay)).reshape(-1)[:count]
