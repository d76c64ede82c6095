"""Measures of answers: one file each, whose name is the key that people write.

Every metric counts a few numbers per row and makes its value from their sums. So the value of all
rows is exact where an average of values would not be (BLEU, perplexity), and a bootstrap only has
to add the numbers of other rows.
"""

from __future__ import annotations

from typing import Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from studio.engine.lora.registry import get_capability

Numbers = NDArray[np.float64]


class Metric(Protocol):
    """What the module of a metric provides."""

    LABEL: str
    READS: Literal["answer", "loss"]
    """Whether it compares a written answer, or reads how likely the expected one was."""
    IS_HIGHER_BETTER: bool

    def count(self, answer: str, expected: str, argument: str) -> tuple[float, ...]:
        """Returns the numbers of one row; those that read the loss get none and have no count."""
        ...

    def combine(self, sums: Numbers) -> Numbers:
        """Returns the value ``(…)`` from sums over rows ``(…, numbers)``."""
        ...


def get_metric(name: str) -> Metric:
    """Returns the metric in the file called ``name``.

    Raises:
        NotAvailableYet: There is no such file; the message lists those there are.
    """
    return cast(Metric, get_capability(__name__, __path__, name, "metric"))


def divide(above: Numbers, below: Numbers) -> Numbers:
    """Returns the quotients, 0 where nothing is below."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
