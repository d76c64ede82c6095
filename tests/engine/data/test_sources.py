"""Reading JSON and JSONL: every row, and every fault with its place."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.core.errors import DatasetInvalid, FileUnusable, StudioError
from studio.engine.data.sources import json as json_source
from studio.engine.data.sources.registry import iter_rows, known_suffixes, source_kinds
from studio.engine.data.sources.row import Reading

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
ROWS = st.lists(st.dictionaries(st.text(max_size=8), VALUES, max_size=4), min_size=1, max_size=12)


def _values(path: Path) -> list[Any]:
    return [dict(row.values) for row in iter_rows(path)]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, indent=st.sampled_from([None, 2]), chunk=st.integers(1, 40), ascii_=st.booleans())
def test_lists_are_read_alike_whatever_the_size_of_the_pieces(
    rows: list[Any], indent: int | None, chunk: int, ascii_: bool, tmp_path: Path
) -> None:
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_)
    try:
        raw = text.encode("utf-8")
    except UnicodeEncodeError:
        return
    path = tmp_path / "rows.json"
    path.write_bytes(raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_source, "_CHUNK_BYTES", chunk)
        assert _values(path) == json.loads(text)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_lines_are_read_as_written(rows: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    assert _values(path) == json.loads(json.dumps(rows))


def test_a_byte_order_mark_and_blank_lines_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n\r\n{"text": "b"}')
    assert [(row.values["text"], row.line, row.number) for row in iter_rows(path)] == [
        ("a", 1, 1),
        ("b", 3, 2),
    ]


def test_objects_one_after_the_other_are_read_from_json_too(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('{"text": "a"}\n{"text": "b"}\n')
    assert [row.values["text"] for row in iter_rows(path)] == ["a", "b"]


BROKEN: list[tuple[str, bytes, str]] = [
    ("empty.jsonl", b"", "is empty"),
    ("blank.jsonl", b"\n \n", "only blank lines"),
    ("broken.jsonl", b'{"a": 1}\n{"a": 1}\n{"a": \n', "line 3, column"),
    ("comma.jsonl", b'{"a": 1,}\n', "line 1, column 9"),
    ("list.jsonl", b'[{"a": 1},\n{"a": 2}]\n', "line 1, column"),
    ("number.jsonl", b'{"a": 1}\n17\n', "line 2 holds a number"),
    ("null.jsonl", b"null\n", "nothing (null)"),
    ("latin.jsonl", b'{"a": "x"}\n{"a": "\xe9t\xe9"}\n', "line 2: byte 8 is not UTF-8"),
    ("utf16.jsonl", '{"a": 1}\n'.encode("utf-16"), "UTF-16"),
    ("zero.jsonl", b'{"a": "x"}\n{"a": "\0"}\n', "line 2 holds zero bytes"),
    ("gzip.jsonl", b"\x1f\x8b\x08\x00abc", "gzip"),
    ("deep.jsonl", b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "nested too deeply"),
    ("digits.jsonl", b'{"a": ' + b"9" * 5000 + b"}\n", "too many digits"),
    ("empty.json", b"", "is empty"),
    ("nothing.json", b"[]", "list in"),
    ("open.json", b'[{"a": 1},\n {"a": 2}', "line 2, column"),
    ("broken.json", b'[{"a": 1},\n {"a" 2}]', "line 2, column 7"),
    ("tail.json", b'[{"a": 1}] x', "line 1, column 12"),
    ("scalar.json", b'"text"', "list of objects is expected"),
    ("inner.json", b"[1, 2]", "row 1 holds a number"),
    ("wrapped.json", b'{"data": [{"a": 1}]}', "inside the key 'data'"),
    ("zero.json", b'[{"a": "x"},\n{"a": "\0"}]', "line 2 holds zero bytes"),
    ("latin.json", b'[{"a": "\xe9"}]', "not UTF-8"),
    ("deep.json", b"[" + b'{"a":' * 100_000, "nested too deeply"),
    ("empty.csv", b"", "is empty"),
    ("head.csv", b"a,b\n", "names of columns and no rows"),
    ("names.csv", b"a,a\n1,2\n", "a name of its own"),
    ("ragged.csv", b'a,b\n1,2\n"x\ny",2,3\n', "line 3 has 3 values"),
    ("quote.csv", b'a,b\n1,"never closed\n', "never closed"),
    ("zero.csv", b"a,b\n1,\0\n", "line 2 holds zero bytes"),
    ("latin.csv", b"a,b\n\xc3\xa9,2\n1,\xe9\n", "line 3: byte 3 is not UTF-8"),
    ("cut.json", b'[{"a": "never closed', "line 1, column 8"),
]


@pytest.mark.parametrize(("name", "content", "said"), BROKEN, ids=[case[0] for case in BROKEN])
def test_broken_files_say_what_is_wrong_and_where(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DatasetInvalid) as caught:
        list(iter_rows(path))
    assert said in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["fragen.csv", "fragen.txt"])
def test_tables_and_texts_of_windows_programs_are_read_and_that_is_told(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    text = "Nr;Frage;Antwort\r\n1;Wie heißt die größte Stadt?;„Wien“ … für 28 €\r\n2;ü;ö\r\n"
    path.write_bytes(text.encode("cp1252"))
    notes: list[str] = []
    rows = list(iter_rows(path, reading=Reading(on_note=notes.append)))
    assert notes == [f"{name} is not UTF-8 and is read as Windows-1252, as Excel saves tables."]
    told = "".join(str(value) for row in rows for value in row.values.values())
    for words in ("größte Stadt?", "„Wien“ … für 28 €", "ü"):
        assert words in told


TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(
        st.lists(
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
            min_size=width,
            max_size=width,
        ),
        min_size=1,
        max_size=6,
    )
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=TABLES, form=st.sampled_from([(".csv", ","), (".csv", ";"), (".tsv", "\t")]))
def test_tables_are_read_as_the_standard_library_wrote_them(
    table: list[list[str]], form: tuple[str, str], tmp_path: Path
) -> None:
    path = tmp_path / f"rows{form[0]}"
    columns = [f"column {index}" for index in range(len(table[0]))]
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        csv.writer(stream, delimiter=form[1], quoting=csv.QUOTE_ALL).writerows([columns, *table])
    read = _values(path)
    assert [list(row.values()) for row in read] == table
    assert list(read[0]) == columns


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileUnusable, match="does not exist"):
        list(iter_rows(tmp_path / "none.jsonl"))
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(DatasetInvalid, match="no file that can be read"):
        list(iter_rows(tmp_path / "folder.jsonl"))


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root reads all")
def test_files_without_permission_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret.jsonl"
    path.write_text('{"text": "a"}')
    path.chmod(0)
    with pytest.raises(FileUnusable, match="cannot be read"):
        list(iter_rows(path))


def test_unknown_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.exe").write_bytes(b"MZ")
    with pytest.raises(DatasetInvalid, match="kind"):
        iter_rows(tmp_path / "rows.exe")


def test_every_kind_is_a_module_of_its_own_name() -> None:
    assert {"csv", "json", "jsonl", "text", "parquet", "arrow"} <= set(source_kinds())
    assert len(known_suffixes()) == len(set(known_suffixes()))


def test_a_limit_reads_no_further(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\nbroken\n')
    assert len(list(iter_rows(path, limit=2))) == 2


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_damaged_files_are_read_or_refused_in_words(
    suffix: str, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    import random

    rows = [{"prompt": f"question {i} é", "completion": "answer 😀"} for i in range(5)]
    whole = json.dumps(rows).encode() if suffix == ".json" else write_rows(rows).read_bytes()
    chance = random.Random(7)
    for attempt in range(300):
        damaged = bytearray(whole[: chance.randrange(1, len(whole) + 1)])
        for _ in range(chance.randrange(4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path = tmp_path / f"{attempt}{suffix}"
        path.write_bytes(damaged)
        with contextlib.suppress(StudioError):
            list(iter_rows(path))
