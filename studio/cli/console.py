"""Where the command line speaks: progress on standard error, results on standard output."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from typing import Any

from studio.core.errors import StudioError


class Console:
    """Words for people and one JSON object for programs.

    With ``is_json`` the result is one JSON object on the last line of standard output and nothing
    else is written there.
    """

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json
        self._is_terminal = sys.stderr.isatty()
        self._progress_length = 0

    def say(self, text: str) -> None:
        """Write a line of progress for a person."""
        self._end_progress()
        print(text, file=sys.stderr, flush=True)

    def show_progress(self, text: str) -> None:
        """Rewrite the progress line; on something that is no terminal, write nothing."""
        if not self._is_terminal:
            return
        padding = " " * max(0, self._progress_length - len(text))
        print(f"\r{text}{padding}", end="", file=sys.stderr, flush=True)
        self._progress_length = len(text)

    def print(self, text: str) -> None:
        """Write a line of the result for a person; silent with ``--json``."""
        self._end_progress()
        if not self.is_json:
            print(text, flush=True)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the result for programs, if they asked for it."""
        self._end_progress()
        if self.is_json:
            print(json.dumps(_finite(result), ensure_ascii=False), flush=True)

    def fail(self, error: StudioError) -> None:
        """Write one line that says what, why and what to do."""
        self._end_progress()
        print(f"Error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        if self.is_json:
            words = {"code": error.code, "message": error.message, "remedy": error.remedy}
            print(json.dumps({"error": words}, ensure_ascii=False), flush=True)

    def _end_progress(self) -> None:
        if self._progress_length:
            print(file=sys.stderr, flush=True)
            self._progress_length = 0


def _finite(value: Any) -> Any:
    """Return ``value`` with numbers that JSON cannot hold (NaN, infinity) as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
