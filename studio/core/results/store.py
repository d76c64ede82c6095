"""The evaluations of one home: saved, listed, opened again and deleted."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from pydantic import ValidationError

from studio.core.errors import FileUnusable
from studio.core.events.measures import RowEvaluated
from studio.core.files import get_file_error, remove, replace_folder, write_atomically
from studio.core.paths import Home, slug
from studio.core.results.result import EvaluationResult, ResultSummary

SUMMARY_NAME = "summary.json"
ROWS_NAME = "rows.jsonl"
_LOG = logging.getLogger(__name__)


class ResultStore:
    """One folder per evaluation below ``results``; a damaged one is left out of the list."""

    def __init__(self, home: Home) -> None:
        self._folder = home.results

    def save(self, result: EvaluationResult) -> EvaluationResult:
        """Keeps an evaluation; returns it with its folder.

        Raises:
            DiskFull: No space is left; nothing remains of it.
            FileUnusable: The home folder is not writable.
        """
        summary = result.summary
        moment = time.strftime("%Y%m%d-%H%M%S", time.localtime(summary.time_seconds))
        stem = f"{moment}-{slug(summary.name)}"
        folder, number = self._folder / stem, 2
        while folder.exists():
            folder, number = self._folder / f"{stem}-{number}", number + 1
        rows = "".join(f"{row.model_dump_json()}\n" for row in result.rows)
        with replace_folder(folder) as new:
            write_atomically(new / SUMMARY_NAME, summary.model_dump_json(indent=2) + "\n")
            write_atomically(new / ROWS_NAME, rows)
        return result.model_copy(update={"folder": folder})

    def list(self) -> list[tuple[Path, ResultSummary]]:
        """Returns folder and summary of every evaluation, newest first."""
        found = []
        for folder in self._folder.iterdir() if self._folder.is_dir() else ():
            if folder.name.startswith("."):
                continue
            try:
                found.append((folder, self._read_summary(folder)))
            except FileUnusable as error:
                _LOG.info("%s is left out: %s", folder, error)
        return sorted(found, key=lambda one: one[1].time_seconds, reverse=True)

    def load(self, folder: Path) -> EvaluationResult:
        """Returns the evaluation in a folder with all its rows.

        Raises:
            FileUnusable: It is missing, damaged or of another version.
        """
        summary = self._read_summary(folder)
        path = folder / ROWS_NAME
        try:
            lines = path.read_bytes().splitlines()
            rows = tuple(RowEvaluated.model_validate_json(line) for line in lines if line.strip())
        except OSError as error:
            raise get_file_error(path, error, "read") from error
        except ValidationError as error:
            raise _get_damage(path) from error
        return EvaluationResult(summary=summary, rows=rows, folder=folder)

    def delete(self, folder: Path) -> None:
        """Deletes an evaluation.

        Raises:
            FileUnusable: The folder is none of this home's results, or cannot be deleted.
        """
        if folder.parent != self._folder:
            raise FileUnusable(f"{folder} is no kept evaluation.", "Choose one of the list.")
        try:
            remove(folder)
        except OSError as error:
            raise get_file_error(folder, error, "deleted") from error

    def _read_summary(self, folder: Path) -> ResultSummary:
        path = folder / SUMMARY_NAME
        try:
            return ResultSummary.model_validate_json(path.read_bytes())
        except OSError as error:
            raise get_file_error(path, error, "read") from error
        except ValidationError as error:
            raise _get_damage(path) from error


def _get_damage(path: Path) -> FileUnusable:
    return FileUnusable(
        f"{path} is damaged or was written by another version of LoRA Studio.",
        "Run the evaluation again.",
    )
