"""A journal holds whole lines only, whatever happened to its writers."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.errors import DiskFull, FileUnusable
from studio.core.events import types
from studio.core.events.codec import encode
from studio.core.events.tail import EventTail
from studio.core.events.writer import SURVIVING, EventWriter


def _read(path: Path) -> list[types.Event]:
    tail = EventTail(path)
    events = tail.read()
    assert tail.skipped == 0
    return events


def test_events_are_stamped_and_stand_in_their_order(tmp_path: Path) -> None:
    moments = iter([10.0, 11.5])
    with EventWriter(tmp_path / "events.jsonl", clock=lambda: next(moments)) as writer:
        first = writer.write(types.RunPaused(step=1))
        second = writer.write(types.RunResumed(step=1))
    assert (first.time_seconds, second.time_seconds) == (10.0, 11.5)
    assert _read(tmp_path / "events.jsonl") == [first, second]


def test_a_second_writer_goes_on_behind_the_first(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for step in range(3):
        with EventWriter(path) as writer:
            writer.write(types.RunPaused(step=step))
    assert [event.step for event in _read(path) if isinstance(event, types.RunPaused)] == [0, 1, 2]


@given(st.integers(min_value=0, max_value=10_000), st.integers(min_value=1, max_value=200_000))
def test_a_line_cut_anywhere_is_repaired_when_the_journal_is_opened(
    tmp_path_factory: pytest.TempPathFactory, cut: int, length: int
) -> None:
    path = tmp_path_factory.mktemp("run") / "events.jsonl"
    whole = encode(types.RunPaused(step=1)).encode() + b"\n"
    last = encode(types.NoticeRaised(code="long", message="x" * length)).encode()
    path.write_bytes(whole + last[: cut % len(last)])
    with EventWriter(path) as writer:
        assert path.read_bytes() == whole
        writer.write(types.RunResumed(step=1))
    assert [type(event) for event in _read(path)] == [types.RunPaused, types.RunResumed]


def test_a_whole_last_line_that_only_lacks_its_break_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(encode(types.RunPaused(step=1)))
    EventWriter(path).close()
    assert _read(path) == [types.RunPaused(step=1)]


def test_a_file_that_is_nothing_but_a_half_line_becomes_empty(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event":"RunPa')
    EventWriter(path).close()
    assert path.read_bytes() == b""


def test_a_full_disk_is_said_in_words_and_leaves_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    real_write = os.write
    with EventWriter(path) as writer:
        kept = writer.write(types.RunPaused(step=1))

        def write_a_part(file: int, content: bytes) -> int:
            if len(content) > 20:
                return real_write(file, content[:20])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "write", write_a_part)
        with pytest.raises(DiskFull, match="no space"):
            writer.write(types.RunResumed(step=1))
        monkeypatch.setattr(os, "write", real_write)
        again = writer.write(types.RunResumed(step=1))
    assert _read(path) == [kept, again]


def test_a_write_in_two_parts_makes_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda file, content: real_write(file, content[:7]))
    with EventWriter(tmp_path / "events.jsonl") as writer:
        event = writer.write(types.RunPaused(step=1))
    assert _read(tmp_path / "events.jsonl") == [event]


def test_facts_that_must_survive_are_flushed_to_the_disk_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    with EventWriter(tmp_path / "events.jsonl") as writer:
        writer.write(types.RunPaused(step=1))
        assert flushed == []
        writer.write(types.CheckpointSaved(step=1, folder="a"))
    assert len(flushed) == 1
    assert types.RunFailed in SURVIVING


def test_threads_never_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as writer:

        def write_many() -> None:
            for step in range(50):
                writer.write(types.RunPaused(step=step))

        threads = [threading.Thread(target=write_many) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(_read(path)) == 200


def test_a_closed_or_impossible_journal_is_said_in_words(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "events.jsonl")
    writer.close()
    writer.close()
    with pytest.raises(FileUnusable, match="closed"):
        writer.write(types.RunPaused(step=1))
    with pytest.raises(FileUnusable, match="does not exist"):
        EventWriter(tmp_path / "missing" / "events.jsonl")


def test_a_journal_that_cannot_be_repaired_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("half")

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(FileUnusable, match="input/output error"):
        EventWriter(path)
