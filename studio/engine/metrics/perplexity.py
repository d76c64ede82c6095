"""Perplexity: among how many equally likely tokens the model seems to choose."""

from __future__ import annotations

from typing import Literal

import numpy as np

from studio.engine.metrics import Numbers, divide

LABEL = "Perplexity"
READS: Literal["loss"] = "loss"
IS_HIGHER_BETTER = False


def combine(sums: Numbers) -> Numbers:
    """Returns e to the loss per token, from ``(nats, tokens)``."""
    found: Numbers = np.exp(divide(sums[..., 0], sums[..., 1]))
    return found
