"""Runs are created, listed, found, renamed and deleted, and nothing broken hides the others."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import Any

import pytest

from studio.core import files
from studio.core.errors import DiskFull, FileUnusable, RecipeInvalid, RunConflict
from studio.core.events import types
from studio.core.events.writer import EventWriter
from studio.core.jobs.orders import ChatOrder, TrainOrder
from studio.core.paths import Home
from studio.core.recipe.schema import BaseSettings, Recipe
from studio.core.recipe.schema_data import DataSettings, DataSource
from studio.core.runs import store as store_module
from studio.core.runs.layout import RunLayout
from studio.core.runs.liveness import claim, release
from studio.core.runs.record import RunRecord
from studio.core.runs.store import RunStore

ORDER = TrainOrder(base_folder="somewhere")


def _build_recipe(name: str) -> Recipe:
    return Recipe(
        name=name,
        base=BaseSettings(model="model"),
        data=DataSettings(train=(DataSource(source="rows.jsonl"),)),
    )


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    moments = itertools.count(int(time.time()))
    return RunStore(Home(tmp_path / "home"), clock=lambda: next(moments))


def _finish(layout: RunLayout) -> None:
    with EventWriter(layout.events) as writer:
        writer.write(types.JobStarted(kind="train", process_id=1, attempt=1))
        writer.write(types.RunFinished(step=3))


def test_a_new_run_holds_its_frozen_recipe_and_its_order(store: RunStore) -> None:
    recipe = _build_recipe("Été: ein Test/../x")
    layout = store.create(recipe, ORDER)
    assert layout.folder.parent == store.folder
    assert layout.folder.name.endswith("Ete-ein-Test-..-x")
    record = store.find(layout.folder.name)
    assert (record.name, record.status, record.kind) == (recipe.name, "queued", "train")
    assert record.folder == layout.folder
    assert store.load_recipe(record) == recipe
    assert store.load_order(layout) == ORDER


def test_an_empty_or_missing_home_has_no_runs(store: RunStore) -> None:
    assert store.list() == []


def test_runs_are_listed_newest_first_with_their_states(store: RunStore) -> None:
    layouts = [store.create(_build_recipe(name), ORDER) for name in ("a", "b", "c")]
    _finish(layouts[0])
    with EventWriter(layouts[1].events) as writer:
        writer.write(types.JobStarted(kind="train", process_id=1, attempt=1))
    assert [(record.name, record.status) for record in store.list()] == [
        ("c", "queued"),
        ("b", "interrupted"),
        ("a", "finished"),
    ]
    claim(layouts[1])
    assert store.list()[1].status == "starting"


def test_runs_of_the_same_second_and_name_get_folders_of_their_own(tmp_path: Path) -> None:
    store = RunStore(Home(tmp_path), clock=lambda: 1_700_000_000.0)
    folders = {store.create(_build_recipe("same"), ORDER).folder for _ in range(3)}
    assert len(folders) == 3
    assert len(store.list()) == 3


def test_broken_folders_are_listed_as_failed_with_the_reason(store: RunStore) -> None:
    store.create(_build_recipe("good"), ORDER)
    (store.folder / "empty").mkdir()
    damaged = store.create(_build_recipe("damaged"), ORDER)
    damaged.job.write_text("{")
    unreadable = store.create(_build_recipe("unreadable"), ORDER)
    unreadable.events.unlink()
    unreadable.events.mkdir()
    untitled = store.create(_build_recipe("untitled"), ORDER)
    untitled.title.write_text("[]")
    (store.folder / "a file").write_text("no run")
    records = {record.id: record for record in store.list()}
    assert len(records) == 5
    for name in ("empty", damaged.folder.name, unreadable.folder.name):
        record = records[name]
        assert record.status == "failed"
        assert record.failure is not None
        assert record.failure.message
        assert record.failure.remedy
    assert records[untitled.folder.name].status == "queued"
    assert records[damaged.folder.name].name == "damaged"
    assert all(record.created_seconds > 1_600_000_000 for record in records.values())


def test_a_run_is_found_by_id_start_of_id_name_and_path(store: RunStore, tmp_path: Path) -> None:
    first = store.create(_build_recipe("first one"), ORDER)
    second = store.create(_build_recipe("second"), ORDER)
    identity = first.folder.name
    for text in (identity, identity[:15], "first one", str(first.folder), f" {identity} "):
        assert store.find(text).id == identity
    elsewhere = tmp_path / "elsewhere"
    second.folder.rename(elsewhere)
    assert store.find(str(elsewhere)).name == "second"


def test_what_means_no_run_or_several_is_said_in_words(store: RunStore, tmp_path: Path) -> None:
    store.create(_build_recipe("twin"), ORDER)
    store.create(_build_recipe("twin"), ORDER)
    for text in ("twin", "20"):
        with pytest.raises(RunConflict, match="2 runs"):
            store.find(text)
    for text in ("none", "", "..", str(tmp_path), "x" * 5000, "\0", "~nobody-of-that-name/x"):
        with pytest.raises(FileUnusable, match="There is no run") as caught:
            store.find(text)
        assert caught.value.code == "run_not_found"


def test_renaming_changes_what_is_shown_and_nothing_else(store: RunStore) -> None:
    layout = store.create(_build_recipe("before"), ORDER)
    created = store.find("before").created_seconds
    record = store.rename("before", "  after \n all ")
    assert (record.name, record.id, record.created_seconds) == (
        "after all",
        layout.folder.name,
        created,
    )
    assert store.load_recipe(record).name == "before"
    for name in ("", "  ", "x" * 101):
        with pytest.raises(RecipeInvalid, match="1 to 100"):
            store.rename(layout.folder.name, name)


def test_a_deleted_run_is_gone_and_the_others_stay(store: RunStore) -> None:
    gone = store.create(_build_recipe("gone"), ORDER)
    store.create(_build_recipe("stays"), ORDER)
    store.delete(gone.folder.name)
    assert [record.name for record in store.list()] == ["stays"]
    assert len(list(store.folder.iterdir())) == 1


def test_a_living_run_is_not_deleted(store: RunStore) -> None:
    layout = store.create(_build_recipe("alive"), ORDER)
    claim(layout)
    with pytest.raises(RunConflict, match="already being worked on"):
        store.delete("alive")
    assert layout.job.exists()
    release(layout)
    store.delete("alive")
    assert store.list() == []


def test_a_run_that_cannot_be_moved_away_stays_whole(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = store.create(_build_recipe("held"), ORDER)

    def refuse(path: Path, target: Path) -> Path:
        raise PermissionError(13, "in use")

    with monkeypatch.context() as patch:
        patch.setattr("studio.core.runs.store.move", refuse)
        with pytest.raises(FileUnusable, match="cannot be deleted"):
            store.delete("held")
    assert store.find("held").status == "queued"
    assert not layout.owner.exists()


def test_what_could_not_be_deleted_is_hidden_and_cleared_the_next_time(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "another program holds it open", str(path))

    store.create(_build_recipe("first"), ORDER)
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "remove", refuse)
        store.delete("first")
    assert store.list() == []
    assert len(list(store.folder.iterdir())) == 1
    store.create(_build_recipe("second"), ORDER)
    store.delete("second")
    assert list(store.folder.iterdir()) == []


def test_a_full_disk_leaves_nothing_of_a_new_run(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, content: bytes | str) -> None:
        raise files.get_file_error(path, OSError(28, "No space left on device"))

    monkeypatch.setattr(store_module, "write_atomically", refuse)
    with pytest.raises(DiskFull):
        store.create(_build_recipe("full"), ORDER)
    assert list(store.folder.iterdir()) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_without_permission_is_said_in_words(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(FileUnusable, match="no permission"):
        RunStore(Home(tmp_path / "home")).create(_build_recipe("a"), ORDER)


def test_short_lived_jobs_stay_out_of_the_history(store: RunStore) -> None:
    layout = store.create_job(ChatOrder(base="model"))
    assert store.list() == []
    assert store.find(str(layout.folder)).kind == "chat"


def test_folders_of_jobs_that_ended_long_ago_are_cleared(store: RunStore) -> None:
    store.clear_jobs()
    old, living, fresh = (store.create_job(ChatOrder(base="model")) for _ in range(3))
    claim(living)
    for layout in (old, living):
        for path in (*layout.folder.iterdir(), layout.folder):
            os.utime(path, (1, 1))
    store.clear_jobs()
    assert [layout.folder.exists() for layout in (old, living, fresh)] == [False, True, True]


def test_a_folder_that_the_system_refuses_is_listed_with_the_reason(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(_build_recipe("refused"), ORDER)

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(store_module, "load_record", refuse)
    (record,) = store.list()
    assert record.failure is not None
    assert "input/output error" in record.failure.message


def test_a_run_that_ends_while_it_is_looked_at_is_not_called_dead(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = store.create(_build_recipe("ending"), ORDER)
    claim(layout)
    with EventWriter(layout.events) as writer:
        writer.write(types.JobStarted(kind="train", process_id=1, attempt=1))
    real_load = store_module.load_record

    def load_and_end(*arguments: Any) -> RunRecord:
        record = real_load(*arguments)
        release(layout)
        return record

    monkeypatch.setattr(store_module, "load_record", load_and_end)
    assert store.find("ending").status == "starting"
    assert store.find("ending").status == "interrupted"


def test_a_run_is_followed_under_its_own_name(store: RunStore) -> None:
    layout = store.create(_build_recipe("followed"), ORDER)
    _finish(layout)
    journal = store.open_journal(layout)
    journal.read_all()
    assert (journal.record.name, journal.record.status) == ("followed", "finished")
    with pytest.raises(FileUnusable):
        store.open_journal(RunLayout(store.folder / "missing"))
