"""Rows kept on disk: found again when nothing changed, made again when anything did."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import FileUnusable, StudioError
from studio.core.recipe.schema_data import DataSettings
from studio.engine.data import cache, encode_source
from studio.engine.data import rows as rows_module
from studio.engine.data.prepare import PreparedData, iter_prepare, prepare
from studio.engine.data.sources.registry import iter_rows
from studio.engine.data.table import TableWriter
from studio.engine.data.tokenize import BATCH_ROWS
from tests.engine.data.conftest import chat
from tests.windows_rules import follow_windows_rules

Write = Callable[..., Path]
SettingsFor = Callable[..., DataSettings]


@pytest.fixture(autouse=True)
def _windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here also holds where files in use can be neither moved nor deleted."""
    follow_windows_rules(monkeypatch)


def _content(prepared: PreparedData) -> list[Any]:
    return [
        (one.ids.tolist(), one.supervised.tolist(), one.row, one.truncated_tokens)
        for one in (*prepared.train, *prepared.validation)
    ]


@pytest.fixture
def run(
    chat_tokenizer: Any, settings_for: SettingsFor, tmp_path: Path
) -> Callable[..., PreparedData]:
    def build(path: Path, cached: bool = True, **others: Any) -> PreparedData:
        settings = settings_for(path, validation={"fraction": 0.2}, **others)
        folder = tmp_path / "cache" if cached else None
        return prepare(settings, chat_tokenizer, None, base_folder=tmp_path, cache_folder=folder)

    return build


def _kept(tmp_path: Path) -> set[str]:
    return {one.name for one in (tmp_path / "cache").iterdir()}


def test_a_second_start_tokenises_nothing_and_gives_the_same(
    run: Callable[..., PreparedData],
    write_rows: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_rows([chat(f"question {i} " * i, f"answer {i}") for i in range(1, 40)])
    first = run(path, max_tokens=60)
    plain = run(path, cached=False, max_tokens=60)
    monkeypatch.setattr(encode_source, "open_source", None)
    second = run(path, max_tokens=60)
    assert _content(first) == _content(second) == _content(plain)
    assert first.problems == second.problems == plain.problems
    assert len(_kept(tmp_path)) == 1
    assert run(path, max_tokens=30).max_tokens == 30  # cutting comes after the cache


def test_any_change_makes_the_rows_again(
    run: Callable[..., PreparedData], write_rows: Write, tmp_path: Path
) -> None:
    run(write_rows([chat("q", "a"), chat("q2", "b")]))
    run(write_rows([chat("q", "a"), chat("q2", "c")]))
    run(tmp_path / "train.jsonl", supervise="everything")
    run(tmp_path / "train.jsonl", template="plain")
    run(tmp_path / "train.jsonl", think="drop")
    assert len(_kept(tmp_path)) == 5


@pytest.mark.parametrize("name", ["ids.bin", "spans.bin", "rows.bin", "about.json"])
def test_damaged_rows_are_noticed_and_made_again(
    name: str, run: Callable[..., PreparedData], write_rows: Write, tmp_path: Path
) -> None:
    path = write_rows([chat(f"q{i}", "a") for i in range(9)])
    first = _content(run(path))
    (file,) = (tmp_path / "cache").glob(f"*/{name}")
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    assert _content(run(path)) == first


def test_a_stopped_preparation_leaves_nothing_behind(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    settings = settings_for(write_rows([chat(f"q{i}", "a") for i in range(2500)]))
    steps = iter_prepare(
        settings, chat_tokenizer, None, base_folder=tmp_path, cache_folder=tmp_path / "cache"
    )
    assert next(steps) == BATCH_ROWS
    steps.close()
    assert _kept(tmp_path) == set()


def test_rows_that_cannot_be_moved_to_their_place_serve_all_the_same(
    run: Callable[..., PreparedData], write_rows: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> Path:
        raise PermissionError(13, "a virus scanner reads it", str(source))

    path = write_rows([chat(f"q{i}", "a") for i in range(20)])
    plain = run(path, cached=False)
    monkeypatch.setattr(cache, "move", refuse)
    assert _content(run(path)) == _content(plain)


def test_data_that_changes_while_it_is_read_is_refused(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    path = write_rows([chat(f"q{i}", "a") for i in range(2500)])
    steps = iter_prepare(
        settings_for(path),
        chat_tokenizer,
        None,
        base_folder=tmp_path,
        cache_folder=tmp_path / "cache",
    )
    next(steps)
    with path.open("a") as stream:
        stream.write(json.dumps(chat("more", "a")) + "\n")
    with pytest.raises(FileUnusable, match="changed while"):
        list(steps)
    assert _kept(tmp_path) == set()


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".txt", ".jsonl.gz", ".parquet"])
def test_damaged_files_are_read_or_refused_in_words(suffix: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"question {i} é", "completion": "answer 😀"} for i in range(6)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    table = "prompt,completion\n" + "".join(f"{r['prompt']},{r['completion']}\n" for r in rows)
    whole = {
        ".jsonl": lines.encode(),
        ".json": json.dumps(rows).encode(),
        ".csv": table.encode(),
        ".txt": lines.encode(),
        ".jsonl.gz": gzip.compress(lines.encode(), mtime=0),
        ".parquet": b"",
    }[suffix]
    if suffix == ".parquet":
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "whole.parquet")
        whole = (tmp_path / "whole.parquet").read_bytes()
    chance = random.Random(11)
    path = tmp_path / f"rows{suffix}"
    for _ in range(330):
        damaged = bytearray(whole[: chance.randrange(1, len(whole) + 1)])
        for _ in range(chance.randrange(5)):
            damaged[chance.randrange(len(damaged))] = chance.choice([0, 10, 34, 255, 92, 123])
        path.write_bytes(damaged)
        try:
            said = [str(row.place) for row in iter_rows(path)]
        except StudioError as error:
            said = [error.message, error.remedy]
        assert said
        assert all(said)


def _raw(tmp_path: Path, name: str) -> dict[str, bytes]:
    (folder,) = (one for one in (tmp_path / name).iterdir() if not one.name.startswith("."))
    return {one.name: one.read_bytes() for one in folder.glob("*.bin")}


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_preparation_that_was_ended_is_completed_by_the_next(
    is_damaged: bool,
    chat_tokenizer: Any,
    settings_for: SettingsFor,
    write_rows: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encode_source, "FEWEST_KEPT", 1)
    monkeypatch.setattr(rows_module, "BATCH_ROWS", 128)
    rows = [chat(f"question {i} " * (1 + i % 5), f"answer {i}") for i in range(900)]
    path = write_rows([*rows[:100], "broken", *rows[100:], chat("no answer")])
    settings = settings_for(path, source={"skip_broken": True}, validation={"fraction": 0.2})
    added: list[int] = []
    add = TableWriter.add
    monkeypatch.setattr(
        TableWriter, "add", lambda self, batch: (added.append(len(batch)), add(self, batch))
    )

    def start(name: str) -> Any:
        folder = tmp_path / name
        return iter_prepare(
            settings, chat_tokenizer, None, base_folder=tmp_path, cache_folder=folder
        )

    def finish(name: str) -> PreparedData:
        steps = start(name)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value

    plain = finish("plain")
    for least in (200, 500):
        added.clear()
        steps = start("cache")
        assert next(one for one in steps if one > least)
        steps.close()
    (left,) = (tmp_path / "cache").iterdir()
    assert left.name.startswith(".unfinished-")
    assert sum(added) < 500
    if is_damaged:
        with (left / "ids.bin").open("r+b") as stream:
            stream.write(b"damaged!")
    added.clear()
    found = finish("cache")
    assert sum(added) == 901 if is_damaged else 0 < sum(added) < 450
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert _raw(tmp_path, "cache") == _raw(tmp_path, "plain")
    assert _content(found) == _content(plain)
    assert found.problems == plain.problems


def test_a_large_file_can_be_left_while_it_is_hashed(
    chat_tokenizer: Any,
    settings_for: SettingsFor,
    write_rows: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache, "TOLD_EVERY", 1)
    path = write_rows([chat("treasure " * 8_000, f"answer {i}") for i in range(60)])
    blocks = -(-path.stat().st_size >> 20)
    assert blocks >= 3
    settings = settings_for(path)
    reader = encode_source.SourceReader(settings, chat_tokenizer, tmp_path, (), tmp_path / "cache")
    steps = reader.read(settings.train[0])
    for _ in range(blocks):
        assert next(steps) == 0
        assert not (tmp_path / "cache").exists()
    assert next(steps) > 0
