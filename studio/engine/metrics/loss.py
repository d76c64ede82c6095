"""The loss on the expected answer, in nats per token."""

from __future__ import annotations

from typing import Literal

from studio.engine.metrics import Numbers, divide

LABEL = "Loss"
READS: Literal["loss"] = "loss"
IS_HIGHER_BETTER = False


def combine(sums: Numbers) -> Numbers:
    """Returns nats per token from ``(nats, tokens)``."""
    return divide(sums[..., 0], sums[..., 1])
