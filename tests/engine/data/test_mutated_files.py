"""Two thousand damaged files of every kind: a correct read or a clear message, nothing else."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import process_time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from studio.core.errors import StudioError
from studio.core.recipe.schema_data import DataSource
from studio.engine.data.read import open_source

EACH = 202  # times ten kinds: a little over two thousand
SLOWEST_SECONDS = 5.0
LONGEST = 1500
HUGE = 1 << 20
DEPTH = 100_000
ROWS = [
    {"prompt": f"Question {number} äß?", "completion": f"Answer {number}, “quoted” 日本"}
    for number in range(30)
]


def _lines() -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def _table(delimiter: str) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(ROWS[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return out.getvalue().encode()


def _parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), out)
    return out.getvalue()


def _arrow() -> bytes:
    out = io.BytesIO()
    table = pa.Table.from_pylist(ROWS)
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.jsonl", _lines())
    return out.getvalue()


KINDS: dict[str, Callable[[], bytes]] = {
    "a.jsonl": _lines,
    "a.json": lambda: json.dumps(ROWS, ensure_ascii=False, indent=1).encode(),
    "a.csv": lambda: _table(","),
    "a.tsv": lambda: _table("\t"),
    "a.txt": lambda: "\n\n".join(row["completion"] for row in ROWS).encode(),
    "a.md": lambda: "\n".join(f"# {row['prompt']}\n\nText." for row in ROWS).encode(),
    "a.parquet": _parquet,
    "a.arrow": _arrow,
    "a.jsonl.gz": lambda: gzip.compress(_lines()),
    "a.zip": _zip,
}


def _flip_bits(content: bytearray, chance: random.Random) -> bytes:
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def _truncate(content: bytearray, chance: random.Random) -> bytes:
    return bytes(content[: chance.randrange(len(content))])


def _drop_middle(content: bytearray, chance: random.Random) -> bytes:
    start = chance.randrange(len(content))
    del content[start : start + chance.randrange(1, 200)]
    return bytes(content)


def _repeat_part(content: bytearray, chance: random.Random) -> bytes:
    start = chance.randrange(len(content))
    return bytes(content[: start + 50] + content[start:])


def _put_nul(content: bytearray, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    content[at:at] = b"\0" * chance.choice((1, 3, 4096))
    return bytes(content)


def _put_huge_field(content: bytearray, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    content[at:at] = chance.choice((b"x", b'"', b",", b"9", b" ", b"\\")) * HUGE
    return bytes(content)


def _nest_deeply(content: bytearray, chance: random.Random) -> bytes:
    at = chance.choice((0, chance.randrange(len(content))))
    content[at:at] = chance.choice((b"[", b'{"a":', b'[{"a":')) * DEPTH
    return bytes(content)


def _encode_wrongly(content: bytearray, chance: random.Random) -> bytes:
    text = bytes(content).decode("utf-8", "replace")
    coding = chance.choice(("utf-16", "utf-16-be", "utf-32", "cp1252", "latin-1", "shift_jis"))
    return text.encode(coding, "replace")


def _put_odd_character(content: bytearray, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    odd = (b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800", b"\xef\xbb\xbf", b"\r", b"\xc2\x85", b"NaN",
           b"1e999", b"\x1b[0m", b"\xe2\x80\xa8", b"-", b"\\u0000")  # fmt: skip
    content[at:at] = chance.choice(odd)
    return bytes(content)


MUTATIONS = (
    _flip_bits, _flip_bits, _truncate, _drop_middle, _repeat_part, _put_nul, _put_huge_field,
    _nest_deeply, _encode_wrongly, _put_odd_character, _put_odd_character,
)  # fmt: skip


def _read(path: Path, *, skip_broken: bool) -> str:
    """Return how reading ended: ``read``, or the code of the refusal."""
    source = DataSource.model_validate({"source": str(path), "skip_broken": skip_broken})
    try:
        for _row, _record in open_source(source, path.parent).iter_records():
            pass
    except StudioError as error:
        is_clear = error.message and error.remedy and "\0" not in error.message
        return error.code if is_clear and len(error.message) < LONGEST else repr(error)[:LONGEST]
    return "read"


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_is_read_or_refused_in_words(name: str, tmp_path: Path) -> None:
    whole = KINDS[name]()
    path = tmp_path / name
    path.write_bytes(whole)
    assert _read(path, skip_broken=False) == "read"
    chance = random.Random(f"{name} 1")
    ended: Counter[str] = Counter()
    for number in range(EACH):
        mutation = MUTATIONS[number % len(MUTATIONS)]
        path.write_bytes(mutation(bytearray(whole), chance))
        started = process_time()
        ended[_read(path, skip_broken=number % 3 == 0)] += 1
        assert process_time() - started < SLOWEST_SECONDS, mutation.__name__
    assert set(ended) <= {"read", "dataset_invalid", "file_unusable", "no_rows"}
    assert ended["read"] < EACH
