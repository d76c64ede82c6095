"""One thing that is wrong, odd or worth knowing about a recipe, in words for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from studio.core.errors import NotAvailableYet, RecipeInvalid

Severity = Literal["error", "warning", "note"]

_SHOWN_PROBLEMS = 8


@dataclass(frozen=True)
class Problem:
    """What is wrong with one setting and what to do about it.

    ``path`` is the dotted key (``train.learning_rate``, ``data.train[0].source``; empty for the
    recipe as a whole). An ``error`` forbids the run, a ``warning`` asks for a second look, a
    ``note`` only informs.
    """

    path: str
    message: str
    remedy: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        place = f"{self.path}: " if self.path else ""
        return f"{place}{self.message} {self.remedy}".strip()


def build_refusal(
    problems: Sequence[Problem], unavailable: Sequence[Problem] = ()
) -> RecipeInvalid:
    """Return the error to raise for problems; ``unavailable`` ones alone make NotAvailableYet."""
    kind = RecipeInvalid if problems else NotAvailableYet
    everything = (*problems, *unavailable)
    if len(everything) == 1:
        only = everything[0]
        error = kind(f"{only.path}: {only.message}", only.remedy)
    else:
        shown = " ".join(str(problem) for problem in everything[:_SHOWN_PROBLEMS])
        hidden = len(everything) - _SHOWN_PROBLEMS
        error = kind(shown + (f" And {hidden} more." if hidden > 0 else ""))
    error.problems = everything
    return error
