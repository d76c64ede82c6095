"""Folders, archives, tables of other libraries and texts; what must not be unpacked."""

from __future__ import annotations

import gzip
import io
import json
import random
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import DatasetInvalid, FileUnusable
from studio.engine.data.sources import packed
from studio.engine.data.sources import text as text_source
from studio.engine.data.sources.registry import find_files, iter_rows
from studio.engine.data.sources.row import Reading
from studio.engine.data.sources.text import BOUNDARY

ROWS = [{"prompt": f"question {i} é", "completion": "answer 😀"} for i in range(600)]
CHATS = [
    {"messages": [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": "a"}]}
    for i in range(5)
]


def _values(path: Path, **others: Any) -> list[dict[str, Any]]:
    return [dict(row.values) for row in iter_rows(path, **others)]


def _jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def test_compressed_files_are_read_as_what_is_in_them(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(_jsonl(ROWS)))
    (tmp_path / "rows.CSV.GZ").write_bytes(gzip.compress(b"\xef\xbb\xbfa;b\n1;2\n"))
    assert _values(tmp_path / "rows.jsonl.gz") == ROWS
    assert _values(tmp_path / "rows.CSV.GZ") == [{"a": "1", "b": "2"}]


def test_zstd_is_read_where_its_package_is_there(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "rows.jsonl.zst"
    path.write_bytes(zstandard.compress(_jsonl(ROWS)))
    assert _values(path) == ROWS


@pytest.mark.parametrize("left", [0.3, 0.6, 0.999])
def test_zstd_that_was_cut_off_is_never_read_as_less(left: float, tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    chance = random.Random(1)
    lines = _jsonl([{"a": chance.randbytes(20).hex()} for _ in range(20_000)])
    packed = zstandard.compress(lines)
    path = tmp_path / "rows.jsonl.zst"
    path.write_bytes(packed[: int(left * len(packed))])
    with pytest.raises(DatasetInvalid, match="cannot be unpacked"):
        _values(path)


def test_a_missing_package_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, module in (("rows.jsonl.zst", "pyarrow"), ("rows.parquet", "pyarrow")):
        (tmp_path / name).write_bytes(b"something")
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(FileUnusable, match="pip install"):
            _values(tmp_path / name)


def test_archives_are_read_file_by_file_in_order(tmp_path: Path) -> None:
    path = tmp_path / "rows.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/b.jsonl", _jsonl(ROWS[300:]))
        archive.writestr("data/a.jsonl", _jsonl(ROWS[:300]))
        archive.writestr("README.md", "about")
        archive.writestr("__MACOSX/a.jsonl", "rubbish")
        archive.writestr(".hidden.jsonl", "rubbish")
    assert _values(path) == ROWS
    assert [row.place for row in iter_rows(path)][300] == "b.jsonl, line 1"


@pytest.mark.parametrize("kind", ["gz", "zip"])
def test_a_file_made_to_fill_the_computer_is_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "FREE_BYTES", 1 << 20)
    bomb = b'{"text": "' + b" " * (24 << 20) + b'"}\n'
    path = tmp_path / f"rows.jsonl.{kind}" if kind == "gz" else tmp_path / "rows.zip"
    if kind == "gz":
        path.write_bytes(gzip.compress(bomb))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("rows.jsonl", bomb)
    with pytest.raises(DatasetInvalid) as caught:
        _values(path)
    assert caught.value.code == "archive_too_large"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.parquet", b"", "not a readable Parquet file"),
        ("rows.parquet", b'{"a": 1}\n', "not a readable Parquet file"),
        ("rows.arrow", b"", "not a readable Arrow file"),
        ("rows.arrow", b'{"a": 1}\n', "not a readable Arrow file"),
        ("rows.jsonl.zst", b"not packed at all", "cannot be unpacked"),
        ("rows.jsonl.zst", b"(\xb5/\xfd", "cannot be unpacked"),
        ("rows.jsonl.gz", gzip.compress(b"17\n", mtime=0), "holds a number"),
        ("rows.zip", b"", "cannot be unpacked"),
        ("rows.zip", b"PK\x05\x06" + bytes(18), "no file that can be read"),
        ("rows.tsv", b"a\tb\n1\t2\n1\t2\t3\n", "line 3 has 3 values"),
        ("rows.tsv", b"a\tb\n1\t\x81\n", "line 2: byte 3 is not UTF-8"),
        ("rows.tsv", b"a\tb\n", "no rows"),
        ("rows.md", b" \n", "only blanks"),
        ("rows.md", b"# caf\x81\n", "line 1: byte 6 is not UTF-8"),
        ("rows.md", b"a\0b\n", "zero bytes"),
        ("rows.txt", "text".encode("utf-16"), "UTF-16"),
        ("rows.jsonl.gz", gzip.compress(_jsonl(ROWS), mtime=0)[:-30], "cannot be unpacked"),
        ("rows.jsonl.gz", b"not packed at all", "cannot be unpacked"),
        ("rows.zip", b"PK\x03\x04 broken", "cannot be unpacked"),
        ("rows.gz", gzip.compress(b"{}", mtime=0), "does not say what is packed"),
        ("rows.parquet.gz", gzip.compress(b"PAR1", mtime=0), "while it is packed"),
        ("rows.parquet", b"PAR1 broken PAR1", "not a readable Parquet file"),
        ("rows.arrow", b"\xff\xff\xff\xff\x10\0\0\0 broken", "not a readable Arrow file"),
        ("rows.txt", b"  \n\n", "only blanks"),
        ("rows.txt", b"caf\x81\n", "line 1: byte 4 is not UTF-8"),
    ],
)
def test_damaged_files_say_what_is_wrong(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises((DatasetInvalid, FileUnusable), match=said) as caught:
        _values(tmp_path / name)
    assert caught.value.remedy


def test_damaged_members_of_an_archive_are_refused(tmp_path: Path) -> None:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.jsonl", _jsonl(ROWS))
    damaged = bytearray(raw.getvalue())
    damaged[200:260] = bytes(60)
    (tmp_path / "rows.zip").write_bytes(damaged)
    with pytest.raises(DatasetInvalid):
        _values(tmp_path / "rows.zip")


def test_tables_of_other_libraries_are_read_as_they_wrote_them(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    saved = datasets.Dataset.from_list(CHATS)
    saved.save_to_disk(str(tmp_path / "saved"))
    saved.to_parquet(str(tmp_path / "rows.parquet"))
    both = datasets.DatasetDict({"train": saved, "test": saved.select([3])})
    both.save_to_disk(str(tmp_path / "both"))
    assert _values(tmp_path / "saved") == CHATS
    assert _values(tmp_path / "rows.parquet") == CHATS
    assert _values(tmp_path / "both") == CHATS
    assert _values(tmp_path / "both", split="test") == [CHATS[3]]
    with pytest.raises(FileUnusable, match="no part named 'dev'; it has train, test"):
        _values(tmp_path / "both", split="dev")


def test_a_part_of_a_downloaded_folder_is_found_by_its_name(tmp_path: Path) -> None:
    for name in ("train-00001-of-00002", "train-00000-of-00002", "validation-00000-of-00001"):
        (tmp_path / f"{name}.jsonl").write_bytes(_jsonl([{"text": name}]))
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "dataset_info.json").write_text("{}")
    assert [one["text"] for one in _values(tmp_path)] == [
        "train-00000-of-00002",
        "train-00001-of-00002",
    ]
    assert len(_values(tmp_path, split="valid")) == 1
    with pytest.raises(FileUnusable, match="no part named"):
        _values(tmp_path, split="test")
    (tmp_path / "more.jsonl").write_bytes(b'{"text": "a"}\n')
    with pytest.raises(DatasetInvalid, match=r"more\.jsonl"):
        _values(tmp_path)
    (tmp_path / "more.csv").write_bytes(b"text\na\n")
    with pytest.raises(DatasetInvalid, match="several kinds"):
        _values(tmp_path)


def test_a_folder_of_texts_is_one_document_per_file(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "b.md").write_text("# Second\n")
    (tmp_path / "part" / "train.txt").write_text("First of part\n")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    assert [one["text"] for one in _values(tmp_path)] == ["# Second", "First of part"]


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ("auto", ["one\ntwo", "\nthree\n\nfour".strip("\n")]),
        ("line", ["one", "two", "three", "four"]),
        ("blank_line", ["one\ntwo", "three", "four"]),
    ],
)
def test_documents_end_where_the_recipe_says(
    documents: Any, expected: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(f"one\r\ntwo{BOUNDARY}\n\nthree\n\nfour\n".encode())
    rows = _values(path, reading=Reading(documents))
    assert [row["text"] for row in rows] == expected
    assert all(row["ends_document"] for row in rows)


def test_long_documents_come_in_parts_that_make_up_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_source, "PIECE_CHARACTERS", 40)
    lines = [f"line number {i}\n" for i in range(50)]
    path = tmp_path / "text.txt"
    path.write_text("".join(lines) + BOUNDARY + "next")
    rows = _values(path)
    assert len(rows) > 5
    assert "".join(row["text"] for row in rows) == "".join(lines) + "next"
    assert [row["ends_document"] for row in rows].count(True) == 2


def test_paths_inside_an_archive_cannot_leave_it(tmp_path: Path) -> None:
    (tmp_path / "secret.jsonl").write_bytes(b'{"text": "secret"}\n')
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.writestr("../secret.jsonl", _jsonl([{"text": "inside"}]))
        archive.writestr("a.jsonl", _jsonl([{"text": "inside too"}]))
    assert [one.name for one in find_files(tmp_path / "rows.zip")] == ["a.jsonl"]
    assert _values(tmp_path / "rows.zip") == [{"text": "inside too"}]
