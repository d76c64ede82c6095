"""What the user prefers in the window, kept as one small JSON file in the home folder."""

from __future__ import annotations

import logging
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.errors import StudioError
from studio.core.kept_values import KeptValues

_log = logging.getLogger(__name__)


class Preferences(QObject):
    """Named values that survive the window; a damaged file starts again from the defaults.

    ``trouble`` is what was wrong with the file when the window opened, if anything was.

    Signals:
        changed: The preference with this name has another value.
        save_failed: A ``StudioError``; the value holds until the window closes.
    """

    changed = Signal(str)
    save_failed = Signal(object)

    def __init__(self, path: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._file = KeptValues(path, "Your settings")
        self._values = self._file.load()
        self.trouble = self._file.trouble

    def get_text(self, name: str, default: str = "") -> str:
        """Return a text, or the default when none was kept."""
        value = self._values.get(name)
        return value if isinstance(value, str) else default

    def get_number(self, name: str, default: float) -> float:
        """Return a number, or the default when none was kept."""
        value = self._values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return default
        return float(value)

    def get_texts(self, name: str) -> list[str]:
        """Return a list of texts; empty when none was kept."""
        value = self._values.get(name)
        return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []

    def keep(self, name: str, value: str | float | bool | list[str]) -> None:
        """Keeps a value from now on and on disk."""
        if name in self._values and self._values[name] == value:
            return
        self._values[name] = value
        try:
            self._file.save(self._values)
        except StudioError as error:
            _log.warning("preferences not saved: %s", error)
            self.save_failed.emit(error)
        self.changed.emit(name)
