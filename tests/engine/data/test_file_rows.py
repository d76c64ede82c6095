"""Rows that stay in a file are read like an array, and never lie in memory as a whole."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from studio.engine.data.chunks import list_places, mark_rows, read_column
from studio.engine.data.file_rows import FileRows
from studio.engine.data.problems import ProblemLog
from studio.engine.data.stored import TableExamples, TableRows
from studio.engine.data.table import ROW, RowTable, TableAbout

KIND = np.dtype([("key", "S4"), ("number", "<i8"), ("is_text", "?")])


def _write(path: Path, count: int) -> tuple[np.ndarray, FileRows]:
    rows = np.zeros(count, dtype=KIND)
    rows["key"] = [str(number).encode() for number in range(count)]
    rows["number"] = np.arange(count) ** 2
    rows["is_text"] = np.arange(count) % 3 == 0
    path.write_bytes(rows.tobytes())
    return rows, FileRows(path, KIND)


def test_rows_in_a_file_are_those_of_an_array(tmp_path: Path) -> None:
    plain, rows = _write(tmp_path / "rows.bin", 50)
    assert len(rows) == 50
    for where in (slice(None), slice(3, 9), slice(-4, None), slice(9, 3), slice(2, 90, 7)):
        assert rows[where].tolist() == plain[where].tolist()
        assert rows["key"][where].tolist() == plain["key"][where].tolist()
    for place in (0, 49, -1):
        assert rows[place] == plain[place]
        assert rows["number"][place] == plain["number"][place]
    places = np.array([7, 3, 3, 40])
    assert rows.take(places).tolist() == plain[places].tolist()
    assert rows["number"].take(places).tolist() == plain["number"][places].tolist()
    assert not len(rows.take(places[:0]))
    assert read_column(rows, "is_text").tolist() == plain["is_text"].tolist()
    flags = mark_rows(rows["number"], lambda some: some % 2 == 1)
    assert list_places(flags).tolist() == np.flatnonzero(plain["number"] % 2).tolist()
    with pytest.raises(IndexError):
        rows[50]
    rows["key"].close()
    with pytest.raises(OSError, match=r"[Bb]ad file"):
        rows[0]


def test_rows_of_pairs_and_no_rows_have_their_shapes(tmp_path: Path) -> None:
    path = tmp_path / "spans.bin"
    pairs = np.arange(12, dtype=np.int32).reshape(6, 2)
    path.write_bytes(pairs.tobytes())
    rows = FileRows(path, ("<i4", (2,)))
    assert (len(rows), rows[2:4].tolist()) == (6, pairs[2:4].tolist())
    path.write_bytes(b"")
    empty = FileRows(path, ("<i4", (2,)))
    assert (len(empty), empty[0:3].shape) == (0, (0, 2))


def test_a_file_that_was_cut_is_an_error_and_not_other_rows(tmp_path: Path) -> None:
    _, rows = _write(tmp_path / "rows.bin", 50)
    with (tmp_path / "rows.bin").open("r+b") as stream:
        stream.truncate(49 * KIND.itemsize)
    assert rows[48]["number"] == 48**2
    with pytest.raises(OSError, match=r"rows\.bin ends too early"):
        rows[40:]


def test_threads_read_the_same_file_at_once(tmp_path: Path) -> None:
    plain, rows = _write(tmp_path / "rows.bin", 400)
    expected = plain["number"].tolist()

    def read(start: int) -> bool:
        places = [(start * 37 + 11 * step) % 400 for step in range(400)]
        return all(rows[place]["number"] == expected[place] for place in places)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(8)))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_steps_drawn_at_random_do_not_bring_the_file_into_memory(tmp_path: Path) -> None:
    count, apart = 1024, 1 << 15
    path = tmp_path / "ids.bin"
    with path.open("wb") as stream:
        stream.truncate(4 * count * apart)  # 128 MB, of which nothing is written
    rows = np.zeros(count, dtype=ROW)
    rows["start"], rows["length"] = apart * np.arange(count), 8
    spans = np.zeros((0, 2), np.int32)
    table = RowTable(FileRows(path, "<i4"), spans, rows, TableAbout(parts=["a.jsonl"]))
    side = TableRows(table, 0, np.ones(count, dtype=np.bool_))
    before = _measure_resident()
    examples = TableExamples([side], ["a.jsonl"], 8, 0, ProblemLog())
    order = np.random.default_rng(0).permutation(count).tolist()
    for start in range(0, count, 16):
        documents, _ = examples.measure(order[start : start + 16])
        assert sum(int(examples[one].ids.sum()) for one in documents) == 0
    assert _measure_resident() - before < 8 << 20


def _measure_resident() -> int:
    """Returns the bytes that lie in this process, of mapped files as well."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))
