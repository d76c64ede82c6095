"""A run opens at its last state, whatever the size of its journal and whoever was killed."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from studio.core.events import types
from studio.core.events.codec import encode
from studio.core.events.tail import EventTail
from studio.core.events.writer import EventWriter
from studio.core.runs import journal as journal_module
from studio.core.runs.journal import RunJournal, RunSnapshot, load_record, load_snapshot
from studio.core.runs.layout import RunLayout
from studio.core.runs.record import RunRecord

START = RunRecord(id="run", name="Run")


def _write_steps(layout: RunLayout, first: int, last: int) -> None:
    step = types.StepFinished(
        time_seconds=1_700_000_000.123456,
        step=987654321,
        epoch=1.2345678901234567,
        loss=1.2345678901234567,
        learning_rate=0.00012345678901234567,
        gradient_norm=1.2345678901234567,
        supervised_tokens=4096,
        tokens=8192,
        seconds=0.12345678901234567,
    )
    line = encode(step)
    with layout.events.open("a", encoding="utf-8") as stream:
        for start in range(first, last + 1, 5000):
            numbers = range(start, min(start + 5000, last + 1))
            stream.writelines(line.replace("987654321", str(number)) + "\n" for number in numbers)


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path)


def _fold_from_scratch(layout: RunLayout) -> RunJournal:
    layout.snapshot.unlink(missing_ok=True)
    journal = RunJournal(layout, START)
    journal.read_all()
    return journal


def test_following_a_run_folds_what_is_appended(layout: RunLayout) -> None:
    journal = RunJournal(layout, START)
    assert journal.read() == []
    with EventWriter(layout.events) as writer:
        writer.write(types.JobStarted(kind="train", process_id=1, attempt=1))
        assert len(journal.read()) == 1
        assert journal.record.status == "starting"
        writer.write(types.RunStopped(step=3))
    assert [type(event) for event in journal.read()] == [types.RunStopped]
    assert journal.record.status == "stopped"
    assert journal.record.id == "run"


def test_a_journal_of_100_mb_opens_from_its_snapshot(
    layout: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 380_000
    _write_steps(layout, 1, steps)
    size = layout.events.stat().st_size
    assert size > 100_000_000
    first = RunJournal(layout, START)
    parts = sum(1 for _ in first.iter_all(max_bytes=8 << 20))
    assert parts > 5
    again = RunJournal(layout, START)
    assert size - again.offset <= size / 4 + (8 << 20)  # the fold was saved while reading
    again.read_all()
    assert repr(again.record) == repr(first.record)
    assert len(again.series.training) == len(first.series.training) == steps
    first.save_snapshot()

    last = RunJournal(layout, START)
    assert last.offset == size
    assert last.record.step == steps
    read_bytes = 0
    real_read = EventTail.read

    def count(tail: EventTail, max_bytes: int = 1 << 20) -> list[types.Event]:
        nonlocal read_bytes
        before = tail.offset
        events = real_read(tail, max_bytes)
        read_bytes += tail.offset - before
        return events

    monkeypatch.setattr(EventTail, "read", count)
    with EventWriter(layout.events) as writer:
        writer.write(types.RunFinished(step=steps))
    assert load_record(layout, START).status == "finished"
    assert read_bytes < 1000


def test_a_list_folds_a_long_journal_once(layout: RunLayout) -> None:
    _write_steps(layout, 1, 4000)
    assert load_record(layout, START).step == 4000
    snapshot = load_snapshot(layout)
    assert snapshot is not None
    assert snapshot.offset == layout.events.stat().st_size
    assert snapshot.series is not None
    assert len(snapshot.series.training) == 4000


def test_a_short_journal_needs_no_snapshot(layout: RunLayout) -> None:
    _write_steps(layout, 1, 10)
    assert load_record(layout, START).step == 10
    assert not layout.snapshot.exists()


def test_names_come_from_the_folder_and_not_from_the_snapshot(layout: RunLayout) -> None:
    _write_steps(layout, 1, 3)
    journal = RunJournal(layout, START)
    journal.read_all()
    journal.save_snapshot()
    renamed = RunRecord(id="moved", name="Other", folder=Path("there"), created_seconds=5)
    for record in (RunJournal(layout, renamed).record, load_record(layout, renamed)):
        assert (record.id, record.name, record.folder) == ("moved", "Other", Path("there"))
        assert record.step == 3


def _spoil_nothing(layout: RunLayout) -> None:
    pass


def _spoil_cut(layout: RunLayout) -> None:
    content = layout.snapshot.read_bytes()
    layout.snapshot.write_bytes(content[: len(content) // 2])


def _spoil_garbage(layout: RunLayout) -> None:
    layout.snapshot.write_bytes(b"\x00\xff garbage\n")


def _spoil_version(layout: RunLayout) -> None:
    content = layout.snapshot.read_bytes()
    layout.snapshot.write_bytes(content.replace(b'"version": ', b'"version": 9'))


def _spoil_other_journal(layout: RunLayout) -> None:
    content = layout.events.read_bytes()
    layout.events.write_bytes(content.replace(b"1.2345", b"9.2345"))


def _spoil_shorter_journal(layout: RunLayout) -> None:
    content = layout.events.read_bytes()
    layout.events.write_bytes(content[: content.index(b"\n") + 1])


@pytest.mark.parametrize(
    ("spoil", "is_used"),
    [
        (_spoil_nothing, True),
        (_spoil_cut, False),
        (_spoil_garbage, False),
        (_spoil_version, False),
        (_spoil_other_journal, False),
        (_spoil_shorter_journal, False),
    ],
)
def test_a_snapshot_that_does_not_fit_is_ignored_and_built_again(
    layout: RunLayout, spoil: object, is_used: bool
) -> None:
    _write_steps(layout, 1, 50)
    journal = RunJournal(layout, START)
    journal.read_all()
    journal.save_snapshot()
    assert callable(spoil)
    spoil(layout)
    assert (load_snapshot(layout) is not None) is is_used
    opened = RunJournal(layout, START)
    assert (opened.offset > 0) is is_used
    opened.read_all()
    assert repr(opened.record) == repr(_fold_from_scratch(layout).record)


def test_a_folder_that_takes_no_snapshot_can_be_read_all_the_same(
    layout: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_steps(layout, 1, 50)
    layout.snapshot.mkdir()
    monkeypatch.setattr(journal_module, "_SMALLEST_STEP_BYTES", 1)
    journal = RunJournal(layout, START)
    journal.read_all()
    assert journal.record.step == 50
    assert [path.name for path in layout.folder.glob(".*")] == []


def test_skipped_lines_are_counted_across_snapshots(layout: RunLayout) -> None:
    layout.events.write_text('{"event":"MoonRose"}\n')
    journal = RunJournal(layout, START)
    journal.read_all()
    journal.save_snapshot()
    with layout.events.open("a") as stream:
        stream.write("broken\n")
    again = RunJournal(layout, START)
    again.read_all()
    assert again.skipped == 2


WORKER = """
import sys
from pathlib import Path
from studio.core.events import types
from studio.core.events.writer import EventWriter
from studio.core.runs.journal import RunJournal
from studio.core.runs.layout import RunLayout
from studio.core.runs.record import RunRecord
layout = RunLayout(Path(sys.argv[1]))
with EventWriter(layout.events) as writer:
    journal = RunJournal(layout, RunRecord(id="run", name="Run"))
    journal.read_all()
    step = journal.record.step
    while True:
        step += 1
        writer.write(types.StepFinished(step=step, epoch=0, loss=1 / step, learning_rate=1,
            gradient_norm=1, supervised_tokens=1, tokens=2, seconds=1))
        writer.write(types.NoticeRaised(code="n", message="x" * (step % 5000)))
        if step % 3 == 0:
            writer.write(types.CheckpointSaved(step=step, folder="c"))
        journal.read()
        journal.save_snapshot()
        print(step, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_a_journal_that_opens_whole(layout: RunLayout) -> None:
    moments = random.Random(7)
    last_step = 0
    for _ in range(20):
        child = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(layout.folder)], stdout=subprocess.PIPE
        )
        with child:
            assert child.stdout is not None
            for _ in range(moments.randint(1, 30)):
                reported = int(child.stdout.readline())
            for _ in range(moments.randint(0, 50_000)):
                pass  # somewhere between two facts
            child.kill()
        EventWriter(layout.events).close()
        opened = RunJournal(layout, START)
        opened.read_all()
        assert opened.skipped == 0
        assert opened.record.step >= reported > last_step
        assert len(opened.series.training) == opened.record.step
        fresh = _fold_from_scratch(layout)
        assert repr(fresh.record) == repr(opened.record)
        assert fresh.series.dump() == opened.series.dump()
        if moments.random() < 0.5:
            RunSnapshot(fresh.record, fresh.series, fresh.offset, 0).save(layout)
        last_step = opened.record.step
