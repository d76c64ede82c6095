"""Which pass of a recomputed layer runs at the moment: what one of them need not compute."""

from __future__ import annotations

from contextvars import ContextVar, Token
from enum import Enum
from types import TracebackType


class Pass(Enum):
    """A recomputed layer runs twice: of the first time nothing is kept, the second keeps all."""

    FIRST = "first"
    SECOND = "second"


_now: ContextVar[Pass | None] = ContextVar("pass", default=None)


def get_pass() -> Pass | None:
    """Returns the pass that runs in this thread, None where nothing is recomputed."""
    return _now.get()


def mark_passes() -> tuple[Marked, Marked]:
    """Returns what torch's ``checkpoint`` enters around the two passes, as its ``context_fn``."""
    return Marked(Pass.FIRST), Marked(Pass.SECOND)


class Marked:
    """While it is entered this pass runs; may be entered again and again."""

    def __init__(self, which: Pass) -> None:
        self._which = which
        self._tokens: list[Token[Pass | None]] = []

    def __enter__(self) -> None:
        self._tokens.append(_now.set(self._which))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _now.reset(self._tokens.pop())
