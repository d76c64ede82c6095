"""The history of runs: created, listed, found, renamed and deleted."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from pydantic import ValidationError

from studio.core.errors import FileUnusable, RecipeInvalid, RunConflict, StudioError
from studio.core.files import (
    get_file_error,
    get_temporary_path,
    move,
    read_shared,
    remove,
    write_atomically,
)
from studio.core.jobs.orders import AnyOrder, order_type
from studio.core.json_text import parse_json
from studio.core.paths import Home, slug
from studio.core.recipe.load import load_recipe
from studio.core.recipe.save import save_recipe
from studio.core.recipe.schema import Recipe
from studio.core.runs.journal import RunJournal, load_record
from studio.core.runs.layout import RunLayout
from studio.core.runs.liveness import claim, find_owner, get_conflict, is_alive, release, status_of
from studio.core.runs.record import RunFailure, RunRecord

_LOG = logging.getLogger(__name__)
_LONGEST_TITLE = 100
_JOB_KEPT_SECONDS = 3600
_DELETED = ".deleted-lora-studio-run-"

Records: TypeAlias = list[RunRecord]


class RunStore:
    """All runs of one home; runs in other folders are found by their path."""

    def __init__(self, home: Home, clock: Callable[[], float] = time.time) -> None:
        self._home = home
        self._clock = clock

    @property
    def folder(self) -> Path:
        """Where the runs lie, one folder each, named by their id."""
        return self._home.runs

    def create(self, recipe: Recipe, order: AnyOrder) -> RunLayout:
        """Makes the folder of a new run with its frozen recipe; nothing is started.

        Raises:
            DiskFull: No space is left; nothing remains of the new run.
            FileUnusable: The home folder is not writable.
        """
        return self._create(self._home.runs, recipe.name, order, recipe)

    def create_job(self, order: AnyOrder, recipe: Recipe | None = None) -> RunLayout:
        """Makes the folder of a short-lived job (chat, preview, export), outside the history.

        Raises:
            DiskFull: No space is left; nothing remains of the new job.
            FileUnusable: The home folder is not writable.
        """
        return self._create(self._home.jobs, order.kind, order, recipe)

    def clear_jobs(self) -> None:
        """Deletes the folders of short-lived jobs that ended more than an hour ago."""
        if not self._home.jobs.is_dir():
            return
        for folder in self._home.jobs.iterdir():
            layout = RunLayout(folder)
            files = [path for path in (folder, layout.events, layout.owner) if path.exists()]
            newest = max((path.stat().st_mtime for path in files), default=0.0)
            if time.time() - newest > _JOB_KEPT_SECONDS and not is_alive(layout):
                _remove(folder)

    def list(self) -> Records:
        """Returns the records of all runs, newest first; a broken folder is listed as failed."""
        records = [self.load(RunLayout(folder)) for folder in self._iter_folders()]
        return sorted(records, key=lambda record: (record.created_seconds, record.id), reverse=True)

    def load(self, layout: RunLayout) -> RunRecord:
        """Returns the record of the run in a folder, wherever it lies; never fails."""
        start = _name_run(layout)
        try:
            start = _build_start(layout)
            was_alive = is_alive(layout)
            return status_of(load_record(layout, start), layout, was_alive=was_alive)
        except StudioError as error:
            failure = RunFailure(code=error.code, message=error.message, remedy=error.remedy)
        except OSError as error:
            told = get_file_error(layout.folder, error, "read")
            failure = RunFailure(code=told.code, message=told.message, remedy=told.remedy)
        return start.model_copy(update={"status": "failed", "failure": failure})

    def open_journal(self, layout: RunLayout) -> RunJournal:
        """Returns the run's journal for following it: record, curves and new events.

        Raises:
            FileUnusable: The folder is no run.
        """
        return RunJournal(layout, _build_start(layout))

    def find(self, text: str) -> RunRecord:
        """Returns the run that is meant by an id, a path, the start of an id, or a name.

        Raises:
            FileUnusable: No run is meant (code ``run_not_found``).
            RunConflict: Several runs are meant.
        """
        wish = text.strip()
        folders = list(self._iter_folders())
        for folder in folders:
            if folder.name == wish:
                return self.load(RunLayout(folder))
        layout = _find_layout(wish)
        if layout is not None:
            return self.load(layout)
        meant = [folder for folder in folders if wish and folder.name.startswith(wish)]
        meant = meant or [folder for folder in folders if _load_title(RunLayout(folder))[0] == wish]
        if len(meant) > 1:
            names = ", ".join(sorted(folder.name for folder in meant)[:5])
            raise RunConflict(
                f"“{wish}” means {len(meant)} runs: {names}.", "Give the id of one of them."
            )
        if not meant:
            raise FileUnusable(
                f"There is no run “{wish}”.",
                "Give the name or id of a run of the list (lora-studio runs list), or the path of "
                "its folder.",
                code="run_not_found",
            )
        return self.load(RunLayout(meant[0]))

    def load_recipe(self, record: RunRecord) -> Recipe:
        """Returns the frozen recipe of a run.

        Raises:
            FileUnusable: The recipe is missing or unreadable.
            RecipeInvalid: The recipe breaks a rule of this version.
        """
        return load_recipe(RunLayout(record.folder).recipe)

    def load_order(self, layout: RunLayout) -> AnyOrder:
        """Returns what the run's job was asked to do.

        Raises:
            FileUnusable: The folder is no run, or its order is of another version.
        """
        return load_order(layout)

    def rename(self, text: str, title: str) -> RunRecord:
        """Gives the run that ``text`` means another display name; its folder keeps its name.

        Raises:
            RecipeInvalid: The new name is empty or longer than 100 characters.
            FileUnusable: There is no such run, or its folder is not writable.
        """
        name = " ".join(title.split())
        if not 1 <= len(name) <= _LONGEST_TITLE:
            raise RecipeInvalid(
                f"A name has 1 to {_LONGEST_TITLE} characters; this one has {len(name)}.",
                "Choose another name.",
            )
        layout = RunLayout(self.find(text).folder)
        _save_title(layout, name, _build_start(layout).created_seconds)
        return self.load(layout)

    def delete(self, text: str) -> None:
        """Deletes the folder of the run that ``text`` means, with everything in it.

        The folder disappears from the history at once; what the system does not let go of yet (a
        file open elsewhere) is cleared away the next time.

        Raises:
            RunConflict: A living process owns the run; nothing is deleted.
            FileUnusable: There is no such run, or its folder must not be changed.
        """
        layout = RunLayout(self.find(text).folder)
        owner = find_owner(layout)
        if owner is not None:
            raise get_conflict(layout, owner)
        claim(layout)  # so that nobody starts it now
        aside = layout.folder.with_name(f"{_DELETED}{secrets.token_hex(6)}")
        try:
            move(layout.folder, aside)
        except OSError as error:
            release(layout)
            raise get_file_error(layout.folder, error, "deleted") from error
        for leftover in layout.folder.parent.glob(f"{_DELETED}*"):
            _remove(leftover)

    def _iter_folders(self) -> Iterator[Path]:
        if not self._home.runs.is_dir():
            return
        try:
            for folder in self._home.runs.iterdir():
                if not folder.name.startswith(".") and folder.is_dir():
                    yield folder
        except OSError as error:
            raise get_file_error(self._home.runs, error, "read") from error

    def _create(self, parent: Path, name: str, order: AnyOrder, recipe: Recipe | None) -> RunLayout:
        with draft_run(parent, name, order, self._clock()) as draft:
            draft.layout.events.touch()
            if recipe is not None:
                save_recipe(recipe, draft.layout.recipe)
            return draft.keep()


class DraftRun:
    """A run directory that nobody sees before it is complete.

    ``layout`` are its paths while it is filled.
    """

    def __init__(self, parent: Path, stem: str) -> None:
        self.layout = RunLayout(get_temporary_path(parent / stem))
        self._place = parent / stem

    def keep(self) -> RunLayout:
        """Gives the directory a free name among the others; returns its paths."""
        return RunLayout(
            _move_to_free_name(self.layout.folder, self._place.parent, self._place.name)
        )


@contextmanager
def draft_run(parent: Path, name: str, order: AnyOrder, moment: float) -> Iterator[DraftRun]:
    """Makes a run directory with its order and title; unless it is kept, nothing of it remains.

    ``moment`` is the time of creation (Unix seconds).

    Raises:
        DiskFull: No space is left.
        FileUnusable: ``parent`` is not writable.
    """
    stem = f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(moment))}-{slug(name)}"
    draft = DraftRun(parent, stem)
    try:
        draft.layout.folder.mkdir(parents=True)
        _save_title(draft.layout, name, moment)
        write_atomically(draft.layout.job, order_type.dump_json(order, indent=2) + b"\n")
        yield draft
    except OSError as error:
        raise get_file_error(parent / stem, error) from error
    finally:
        if draft.layout.folder.exists():
            _remove(draft.layout.folder)


def load_order(layout: RunLayout) -> AnyOrder:
    """Returns what the job in a run directory is asked to do.

    Raises:
        FileUnusable: The folder is no run, or its order is of another version.
    """
    try:
        return order_type.validate_json(read_shared(layout.job))
    except OSError as error:
        raise get_file_error(layout.job, error, "read") from error
    except ValidationError as error:
        raise FileUnusable(
            f"{layout.job} does not say what to do in this run: it is damaged or was written by "
            "another version of LoRA Studio.",
            "Start a new run with the same recipe.",
        ) from error


def _find_layout(path_text: str) -> RunLayout | None:
    """Returns the run directory at a path, or None if there is none."""
    try:
        layout = RunLayout(Path(path_text).expanduser().absolute())
        return layout if path_text and layout.job.is_file() else None
    except (OSError, RuntimeError, ValueError):
        return None  # no path at all: too long, an unknown user, a character that none may have


def _build_start(layout: RunLayout) -> RunRecord:
    """Returns the record before the first event, from what stands in the folder."""
    return _name_run(layout).model_copy(update={"kind": load_order(layout).kind})


def _name_run(layout: RunLayout) -> RunRecord:
    """Returns a record with what is known of any folder, however damaged: its name and age."""
    name, created_seconds = _load_title(layout)
    try:
        created_seconds = created_seconds or layout.folder.stat().st_mtime
    except OSError as error:
        _LOG.info("the age of %s is not known: %s", layout.folder, error)
    return RunRecord(
        id=layout.folder.name,
        name=name or layout.folder.name,
        folder=layout.folder,
        created_seconds=created_seconds,
    )


def _load_title(layout: RunLayout) -> tuple[str, float]:
    """Returns name and time of creation; empty and 0 where they are not written down."""
    try:
        content = parse_json(read_shared(layout.title))
        return str(content["name"]), float(content["created_seconds"])
    except FileNotFoundError:
        return "", 0.0
    except (OSError, ValueError, KeyError, TypeError) as error:
        _LOG.info("the title %s is ignored: %s", layout.title, error)
        return "", 0.0


def _save_title(layout: RunLayout, name: str, created_seconds: float) -> None:
    content = {"name": name, "created_seconds": created_seconds}
    write_atomically(layout.title, json.dumps(content, ensure_ascii=False) + "\n")


def _move_to_free_name(draft: Path, parent: Path, stem: str) -> Path:
    number = 1
    while True:
        target = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            # Fails where a folder with files stands: two runs of one second get two names.
            if not target.exists():
                return move(draft, target)
        except OSError:
            if not target.exists():
                raise
        number += 1


def _remove(folder: Path) -> None:
    try:
        remove(folder)
    except OSError as error:
        _LOG.warning("%s could not be deleted completely yet: %s", folder, error)
