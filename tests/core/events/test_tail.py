"""A reader sees every whole line once, never waits, and outlives damage."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.errors import FileUnusable
from studio.core.events import types
from studio.core.events.codec import encode
from studio.core.events.tail import EventTail


def _line(step: int) -> bytes:
    return encode(types.RunPaused(step=step)).encode() + b"\n"


def _steps(events: list[types.Event]) -> list[int]:
    return [event.step for event in events if isinstance(event, types.RunPaused)]


def test_a_journal_that_is_not_there_yet_has_no_events(tmp_path: Path) -> None:
    tail = EventTail(tmp_path / "events.jsonl")
    assert tail.read() == []
    (tmp_path / "events.jsonl").write_bytes(_line(1))
    assert _steps(tail.read()) == [1]
    assert tail.read() == []


@given(st.data(), st.integers(min_value=1, max_value=300))
def test_every_event_is_read_once_however_the_bytes_arrive(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, max_bytes: int
) -> None:
    path = tmp_path_factory.mktemp("run") / "events.jsonl"
    content = b"".join(_line(step) for step in range(12))
    cuts = data.draw(st.lists(st.integers(0, len(content)), max_size=5).map(sorted))
    tail = EventTail(path)
    steps: list[int] = []
    for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        with path.open("ab") as stream:
            stream.write(content[start:end])
        steps += _steps(tail.read(max_bytes))
        assert content[: tail.offset].endswith(b"\n") or tail.offset == 0
    while more := _steps(tail.read(max_bytes)):
        steps += more
    assert steps == list(range(12))
    assert tail.offset == len(content)
    assert tail.skipped == 0


def test_a_half_written_last_line_waits_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(_line(1) + _line(2)[:10])
    tail = EventTail(path)
    assert _steps(tail.read()) == [1]
    assert tail.read() == []
    with path.open("ab") as stream:
        stream.write(_line(2)[10:])
    assert _steps(tail.read()) == [2]


def test_reading_goes_on_from_a_remembered_offset(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(_line(1) + _line(2))
    first = EventTail(path)
    assert _steps(first.read(max_bytes=len(_line(1)))) == [1]
    assert _steps(EventTail(path, first.offset).read()) == [2]


def test_unknown_and_broken_lines_are_counted_and_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = [
        b'{"event":"MoonRose"}\n',
        _line(1),
        b"\x00\xff\n",
        b"\n",
        b'{"event":"Run\n',
        _line(2),
    ]
    path.write_bytes(b"".join(lines))
    tail = EventTail(path)
    assert _steps(tail.read()) == [1, 2]
    assert tail.skipped == 4


def test_a_line_longer_than_the_limit_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    long = types.NoticeRaised(code="long", message="x" * 10_000)
    path.write_bytes(encode(long).encode() + b"\n" + _line(1))
    tail = EventTail(path)
    assert tail.read(max_bytes=100)[0] == long
    assert tail.offset > 10_000


def test_separators_of_other_writing_systems_do_not_end_a_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    event = types.NoticeRaised(code="odd", message="one\u2028two\u0085three\rfour\nfive")
    path.write_bytes(encode(event).encode() + b"\n")
    assert EventTail(path).read() == [event]


def test_a_journal_that_cannot_be_read_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").mkdir()
    with pytest.raises(FileUnusable, match="cannot be read"):
        EventTail(tmp_path / "events.jsonl").read()
