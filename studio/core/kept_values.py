"""Small JSON files of the window's own values, of which nothing is lost when one is damaged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.core.errors import FileUnusable
from studio.core.files import get_file_error, move, read_shared, write_json_atomically
from studio.core.json_text import parse_json


class KeptValues:
    """One file of named values.

    ``trouble`` says what is wrong with a file that is there and cannot be read; it is set aside,
    not overwritten, when values are saved. ``words`` name the values in messages.
    """

    def __init__(self, path: Path, words: str) -> None:
        self._path = path
        self._words = words
        self.trouble: FileUnusable | None = None

    def load(self) -> dict[str, Any]:
        """Returns what the file holds; empty when it is missing or cannot be read."""
        self.trouble = None
        try:
            values = parse_json(read_shared(self._path))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            return self._refuse(str(error))
        return values if isinstance(values, dict) else self._refuse("it holds something else")

    def save(self, values: Mapping[str, Any]) -> None:
        """Replaces the file; one that could not be read is kept beside it.

        Raises:
            DiskFull: No space is left; the old file is untouched.
            FileUnusable: The folder is not writable.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self.trouble is not None and self._path.exists():
                move(self._path, self._aside)
        except OSError as error:
            raise get_file_error(self._path.parent, error) from error
        self.trouble = None
        write_json_atomically(self._path, values)

    @property
    def _aside(self) -> Path:
        return self._path.with_name(f"{self._path.name}.damaged")

    def _refuse(self, why: str) -> dict[str, Any]:
        self.trouble = FileUnusable(
            f"{self._words} cannot be read, so the window starts without them: "
            f"{self._path} is damaged ({why}).",
            f"Look through them and set them again. The damaged file is kept as {self._aside}.",
        )
        return {}
