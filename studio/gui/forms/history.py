"""What the draft was before its last changes, so that they can be taken back."""

from __future__ import annotations

import copy
from collections import deque
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, Signal

_MOST_STEPS = 100


@dataclass(frozen=True)
class _Step:
    """The values before a change, and what it changed."""

    words: str
    values: dict[str, Any]
    is_series: bool


class History(QObject):
    """The newest hundred states of the draft.

    Signals:
        changed: There is another last change now.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._steps: deque[_Step] = deque(maxlen=_MOST_STEPS)

    @property
    def words(self) -> str:
        """What the last change was: a dotted path, or words for several settings; empty = none."""
        return self._steps[-1].words if self._steps else ""

    def note(self, words: str, values: dict[str, Any], *, is_series: bool = False) -> None:
        """Keeps the values before a change; changes of a series with the same words are one."""
        last = self._steps[-1] if self._steps else None
        if last is not None and is_series and last.is_series and last.words == words:
            return
        self._steps.append(_Step(words, copy.deepcopy(values), is_series))
        self.changed.emit()

    def take_back(self) -> dict[str, Any] | None:
        """Return the values before the last change and forget it; None where there is none."""
        if not self._steps:
            return None
        values = self._steps.pop().values
        self.changed.emit()
        return values
