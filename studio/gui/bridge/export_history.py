"""What was exported from this home, newest first, kept in one small file."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from studio.core.files import write_atomically
from studio.core.jobs.orders import ExpertLayout, ExportTarget, MergeBase

_KEPT = 100
_log = logging.getLogger(__name__)


class ExportRecord(BaseModel):
    """One finished export; ``time_seconds`` is Unix time.

    ``tool`` is the card of the page that it was made for, ``rank`` the highest one of the adapter
    (0: unknown), ``changes`` what was left out of it, in words. ``adapter`` is the folder that it
    came from, ``onto`` and ``experts`` are those of the order.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    name: str
    target: ExportTarget
    base: str
    folder: str
    files: tuple[str, ...]
    is_verified: bool
    largest_difference: float | None = None
    reasons: tuple[str, ...] = ()
    prompts: str = ""
    tool: str = ""
    rank: int = 0
    changes: tuple[str, ...] = ()
    adapter: str = ""
    onto: MergeBase = "original"
    experts: ExpertLayout = "kept"
    time_seconds: float = 0.0


_records: TypeAdapter[list[ExportRecord]] = TypeAdapter(list[ExportRecord])


class ExportHistory:
    """Reads and writes the list; call it in the background."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> list[ExportRecord]:
        """Returns all kept exports, newest first; a damaged file counts as empty."""
        try:
            return _records.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, ValidationError) as error:
            _log.warning("the list of exports starts again: %s", error)
            return []

    def add(self, record: ExportRecord) -> list[ExportRecord]:
        """Keeps one more export and returns all.

        Raises:
            FileUnusable: The home folder is not writable.
        """
        kept = [record, *self.load()][:_KEPT]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, _records.dump_json(kept, indent=2))
        return kept
