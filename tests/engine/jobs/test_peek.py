"""The first rows of any kind of file are shown before a model is chosen."""

from __future__ import annotations

import datetime
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from studio.core.errors import FileUnusable
from studio.core.events.types import Event, RowsPeeked, RunFinished
from studio.core.jobs.orders import PeekOrder
from studio.core.runs.layout import RunLayout
from studio.engine.jobs import peek
from tests.engine.tiny_run import ScriptedControl


def look(tmp_path: Path, **order: object) -> list[Event]:
    layout = RunLayout(tmp_path / "job")
    layout.folder.mkdir(exist_ok=True)
    asked = PeekOrder.model_validate({"base_folder": str(tmp_path), **order})
    return list(peek.run(asked, layout, ScriptedControl(layout)))


def test_columns_and_packed_rows_are_read_no_further_than_wanted(tmp_path: Path) -> None:
    day = datetime.date(2026, 1, 2)
    rows = [{"q": "x" * 2000, "n": n, "day": day, "raw": b"abc"} for n in range(90)]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "train-0.parquet")
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt") as stream:
        stream.write('{"a": 1}\n{broken\n{"a": [1, 2]}\n')
    told, done = look(tmp_path, source="train-0.parquet", rows=50)[1:]
    assert isinstance(told, RowsPeeked)
    assert isinstance(done, RunFinished)
    first = json.loads(told.rows[0])
    assert (len(told.rows), told.row_count) == (50, None)
    assert first == {"q": "x" * 700 + " …", "n": 0, "day": "2026-01-02", "raw": "(3 bytes)"}
    assert told.size_bytes == (tmp_path / "train-0.parquet").stat().st_size
    told = look(tmp_path, source="rows.jsonl.gz")[1]
    assert isinstance(told, RowsPeeked)
    assert [json.loads(row) for row in told.rows] == [{"a": 1}, {"a": [1, 2]}]
    assert told.row_count == 2


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileUnusable):
        look(tmp_path, source="gone.parquet")
