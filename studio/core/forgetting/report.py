"""One finished forgetting check, kept in the home folder and handed on as a file."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from studio.core.errors import FileUnusable
from studio.core.events.measures import ProbeAnswered
from studio.core.files import get_file_error, remove, write_atomically
from studio.core.forgetting.probes import AREAS
from studio.core.forgetting.verdict import AreaVerdict, describe_outcome, judge
from studio.core.jobs.orders import ForgettingOrder
from studio.core.paths import Home, slug
from studio.core.results.tables import escape_markdown, write_csv

_ENDING = ".json"
_STATES = {"kept": "kept", "changed": "changed", "broken": "**broke**", "unknown": "not judged"}
_LOG = logging.getLogger(__name__)


class ForgettingReport(BaseModel):
    """What was asked and answered; ``time_seconds`` is Unix time, ``columns`` start with the base.

    ``adapters`` maps columns to folders.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    version: int = 1
    name: str
    base: str
    adapters: dict[str, str]
    answered: tuple[ProbeAnswered, ...]
    time_seconds: float = 0.0

    @property
    def columns(self) -> tuple[str, ...]:
        """The base and the adapters."""
        return tuple(self.answered[0].answers) if self.answered else ("base", *self.adapters)

    @property
    def verdicts(self) -> tuple[AreaVerdict, ...]:
        """What became of every area under every adapter."""
        return judge(self.answered, self.columns)

    @property
    def is_broken(self) -> bool:
        """Whether anything broke."""
        return describe_outcome(self.verdicts)[0] == "error"


def build_report(order: ForgettingOrder, answered: Sequence[ProbeAnswered]) -> ForgettingReport:
    """Returns what a job has found, as of now."""
    return ForgettingReport(
        name=", ".join(order.adapters)[:120],
        base=order.base,
        adapters=order.adapters,
        answered=tuple(answered),
        time_seconds=time.time(),
    )


class ReportStore:
    """One file per check below ``forgetting``; a damaged one is left out of the list."""

    def __init__(self, home: Home) -> None:
        self._folder = home.forgetting

    def save(self, report: ForgettingReport) -> Path:
        """Keeps a check; returns its file.

        Raises:
            DiskFull: No space is left; nothing remains of it.
            FileUnusable: The home folder is not writable.
        """
        moment = time.strftime("%Y%m%d-%H%M%S", time.localtime(report.time_seconds))
        stem = f"{moment}-{slug(report.name)}"
        path, number = self._folder / f"{stem}{_ENDING}", 2
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise get_file_error(self._folder, error) from error
        while path.exists():
            path, number = self._folder / f"{stem}-{number}{_ENDING}", number + 1
        write_atomically(path, report.model_dump_json() + "\n")
        return path

    def list(self) -> list[tuple[Path, ForgettingReport]]:
        """Returns file and report of every check, newest first."""
        found = []
        for path in self._folder.glob(f"*{_ENDING}") if self._folder.is_dir() else ():
            try:
                found.append((path, self.load(path)))
            except FileUnusable as error:
                _LOG.info("%s is left out: %s", path, error)
        return sorted(found, key=lambda one: one[1].time_seconds, reverse=True)

    def load(self, path: Path) -> ForgettingReport:
        """Returns the check in a file.

        Raises:
            FileUnusable: It is missing, damaged or of another version.
        """
        try:
            return ForgettingReport.model_validate_json(path.read_bytes())
        except OSError as error:
            raise get_file_error(path, error, "read") from error
        except ValidationError as error:
            raise FileUnusable(
                f"{path} is damaged or was written by another version of LoRA Studio.",
                "Run the check again.",
            ) from error

    def delete(self, path: Path) -> None:
        """Deletes a check.

        Raises:
            FileUnusable: The file is none of this home's checks, or cannot be deleted.
        """
        if path.parent != self._folder:
            raise FileUnusable(f"{path} is no kept check.", "Choose one of the list.")
        try:
            remove(path)
        except OSError as error:
            raise get_file_error(path, error, "deleted") from error


def write_report(report: ForgettingReport, kind: str) -> str:
    """Returns what a file holds: ``csv`` has a line per prompt, ``md`` is for people."""
    return _build_csv(report) if kind == "csv" else _build_markdown(report)


def _build_csv(report: ForgettingReport) -> str:
    head = ["area", "prompt", "expected"]
    for column in report.columns:
        head += [f"{column}: answer", f"{column}: right", f"{column}: KL"]
    lines: list[tuple[object, ...]] = [tuple(head)]
    for one in report.answered:
        cells: list[object] = [one.area, one.prompt, one.expected]
        for column in report.columns:
            cells += [one.answers.get(column, ""), one.right.get(column, "")]
            cells += [one.divergences.get(column, "")]
        lines.append(tuple(cells))
    return write_csv(lines)


def _build_markdown(report: ForgettingReport) -> str:
    moment = time.strftime("%Y-%m-%d %H:%M", time.localtime(report.time_seconds))
    lines = [
        f"# What {escape_markdown(report.name)} made the base forget",
        "",
        f"Base {escape_markdown(Path(report.base).name)}, {moment}. "
        f"{escape_markdown(describe_outcome(report.verdicts)[1])}",
        "",
        "| Area | Adapter | Result | Still right | KL in nats per token |",
        "|---|---|---|---|---|",
    ]
    for one in report.verdicts:
        area = escape_markdown(AREAS.get(one.area, one.area))
        kept = f"{one.kept} of {one.known}"
        cells = (area, escape_markdown(one.column), _STATES[one.state], kept)
        lines.append(f"| {' | '.join(cells)} | {one.divergence:.3f} |")
    base = report.columns[0]
    for column in report.columns[1:]:
        lost = [one for one in report.answered if one.right.get(base) and not one.right.get(column)]
        if lost:
            lines += ["", f"## No longer right with {escape_markdown(column)}", ""]
        for probe in lost:
            before, after = (escape_markdown(probe.answers[name]) for name in (base, column))
            lines.append(f"- {escape_markdown(probe.prompt)} Before: {before} Now: {after}")
    return "\n".join(lines) + "\n"
