"""Rows that are tokenised while training runs: the same examples whatever is ready when."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.core.errors import DatasetInvalid
from studio.core.recipe.schema_data import DataSettings
from studio.engine.data import sampling, streaming
from studio.engine.data.loader import iter_steps
from studio.engine.data.prepare import PreparedData
from studio.engine.data.streaming import StreamedRows, StreamWish, iter_stream
from tests.engine.data.conftest import chat
from tests.windows_rules import follow_windows_rules

Write = Callable[..., Path]
Open = Callable[..., Any]


def _rows(count: int = 120) -> list[Any]:
    return [chat(f"question {i} " * (1 + i % 7), f"answer {i}") for i in range(count)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets small files count as large ones."""
    monkeypatch.setattr(streaming, "STREAM_BYTES", 1)
    monkeypatch.setattr(streaming, "FEWEST_ROWS", 64)
    monkeypatch.setattr(sampling, "SAMPLE_ROWS", 32)


@pytest.fixture
def open_rows(chat_tokenizer: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens a file as a run does; closes everything in the end."""
    opened: list[StreamedRows] = []

    def build(path: Path, **settings: Any) -> StreamedRows | PreparedData:
        source = settings.pop("source", {})
        preparation = settings.pop("preparation", None)
        vocabulary = settings.pop("vocabulary", len(chat_tokenizer))
        wanted = DataSettings.model_validate(
            {
                "train": [{"source": str(path), **source}],
                "validation": {"fraction": 0.1},
                **settings,
            }
        )
        wish = StreamWish(
            wanted, chat_tokenizer, None, tmp_path, (), tmp_path / "cache",
            lambda: chat_tokenizer, vocabulary, preparation,
        )  # fmt: skip
        data = _finish(iter_stream(wish))
        if isinstance(data, StreamedRows):
            opened.append(data)
        return data

    yield build
    for one in opened:
        one.close()


def _finish(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def _prepare_rest(data: StreamedRows) -> PreparedData:
    assert data.rest is not None
    return _finish(data.rest._build())


def _content(data: Any, steps: int = 30) -> list[Any]:
    plans = iter_steps(data.train, batch_sequences=8, micro_batch_tokens=200, seed=3, epoch=0)
    trained = [
        (
            plan.documents,
            [(batch.ids.tolist(), batch.targets.tolist()) for batch in plan.micro_batches],
        )
        for plan, _ in zip(plans, range(steps), strict=False)
    ]
    held, _ = data.validation.measure(range(len(data.validation)))
    return [trained, [data.validation[one].ids.tolist() for one in held]]


def _origins(data: Any) -> list[Any]:
    return [one for some in data.train.iter_origins() for one in some.tolist()]


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "pattern", "filled"])
def test_examples_are_the_same_before_and_after_everything_is_prepared(
    kind: str, open_rows: Open, write_rows: Write, tmp_path: Path
) -> None:
    rows, settings = _rows(), {}
    if kind == "pattern":
        rows = [{"title": f"t{i}", "n": i, "reply": f"answer {i}"} for i in range(120)]
        columns = {"prompt": "{title}: {n}?", "answer": "reply"}
        settings = {"source": {"format": "prompt", "columns": columns}}
    path = write_rows(rows)
    if kind == "json":
        path = tmp_path / "rows.json"
        path.write_text(json.dumps(rows))
    elif kind == "filled":
        path = write_rows([chat(f"question {i}", f"{{{{who}}}} answers {i}") for i in range(120)])
        settings = {"source": {"fill": {"who": "Ada"}}}
    elif kind == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        arrow = pytest.importorskip("pyarrow")
        path = tmp_path / "rows.parquet"
        parquet.write_table(arrow.Table.from_pylist(rows), path)
    first = open_rows(path, **settings)
    before = _content(first)
    whole = _prepare_rest(first)
    first.take_tables(whole)
    first.train._held.clear()
    assert _content(first) == before
    again = open_rows(path, **settings)
    assert again.rest is None
    assert again.whole is not None
    assert _content(again) == before
    assert (again.max_tokens, again.longest) == (first.max_tokens, first.longest)


def test_the_order_and_the_examples_are_those_of_rows_prepared_as_a_whole(
    open_rows: Open, write_rows: Write
) -> None:
    path = write_rows(_rows())
    first = open_rows(path, max_tokens=80)
    streamed, origins = _content(first), _origins(first)
    whole = open_rows(path, max_tokens=80, preparation="whole")
    assert isinstance(whole, PreparedData)
    assert _content(whole) == streamed
    again = open_rows(path, max_tokens=80)
    assert again.rest is None
    for data in (whole, again):
        assert _origins(data) == origins


def test_no_row_is_on_both_sides_and_what_is_prepared_later_agrees(
    open_rows: Open, write_rows: Write
) -> None:
    path = write_rows(_rows(80) * 2 + [chat("QUESTION  5 ", "Answer 5")] * 3)
    data = open_rows(path)
    taught, held = (
        {tuple(one.ids.tolist()) for one in side} for side in (data.train, data.validation)
    )
    assert held
    assert not taught & held
    whole = _prepare_rest(data)
    assert {tuple(one.ids.tolist()) for one in whole.validation} == held
    assert (len(whole.train), len(whole.validation)) == (len(data.train), len(data.validation))
    assert {one.code for one in whole.problems} >= {"duplicate_rows"}


def test_the_limit_is_judged_by_the_sample_and_the_same_for_prepared_rows(
    open_rows: Open, write_rows: Write
) -> None:
    data = open_rows(write_rows(_rows()))
    lengths = data.sample.lengths
    assert len(lengths) == 32
    assert data.max_tokens == int(np.percentile(lengths, 99, method="higher"))
    assert "32 rows" in data.max_tokens_reason


def test_rows_that_fall_out_leave_their_place_in_a_step_empty(
    open_rows: Open, write_rows: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "MOST_UNTRAINABLE", 1.0)
    rows = [chat(f"q{i}", "a" * (400 if i % 10 == 0 else 5)) for i in range(120)]
    data = open_rows(write_rows(rows), max_tokens=60, validation={"fraction": 0})
    plans = list(iter_steps(data.train, batch_sequences=4, micro_batch_tokens=500, seed=0, epoch=0))
    assert len(plans) == 30
    seen = [one for plan in plans for one in plan.documents]
    assert sorted(seen) == [one for one in range(120) if one % 10]
    assert any(len(plan.documents) < 4 for plan in plans)


def _refused() -> list[Any]:
    return [chat(f"q{i}", "yes <|im_end|>" if i % 3 else "fine") for i in range(120)]


@pytest.mark.parametrize(
    ("rows", "settings"),
    [
        (_rows(40), {}),
        ([{"text": f"line {i}"} for i in range(120)], {}),
        ([{"input_ids": [1, 2, i]} for i in range(120)], {}),
        (_refused(), {}),
        (_rows(), {"leave_out": ["duplicate_rows"]}),
        (_rows(), {"vocabulary": 5}),
    ],
)
def test_what_cannot_be_judged_by_a_sample_is_prepared_as_a_whole(
    rows: list[Any], settings: Any, open_rows: Open, write_rows: Write, tmp_path: Path
) -> None:
    path = write_rows(rows)
    assert isinstance(open_rows(path, **settings), PreparedData)
    assert isinstance(open_rows(path, **settings), PreparedData)  # from the cache as well
    assert not [one for one in (tmp_path / "cache").iterdir() if one.name.startswith(".part-")]


def test_data_without_anything_to_learn_is_refused_before_the_start(
    open_rows: Open, write_rows: Write
) -> None:
    rows = [{"messages": [{"role": "user", "content": f"q{i}"}]} for i in range(120)]
    with pytest.raises(DatasetInvalid) as caught:
        open_rows(write_rows(rows))
    assert caught.value.code == "no_supervised_tokens"


@pytest.mark.parametrize("is_agreed", [False, True])
def test_a_broken_row_at_the_end_is_met_before_the_start(
    is_agreed: bool, open_rows: Open, write_rows: Write
) -> None:
    path = write_rows(_rows())
    with path.open("a") as stream:
        stream.write('{"messages": [\n')
    opening = partial(open_rows, path, source={"skip_broken": is_agreed})
    if not is_agreed:
        with pytest.raises(DatasetInvalid, match="line 121"):
            opening()
        return
    data = opening()
    assert data.findings[0].skipped_rows == 1
    assert len(data.train) + len(data.validation) == 120


def test_excluded_rows_are_on_no_side(open_rows: Open, write_rows: Write) -> None:
    path = write_rows(_rows())
    key = open_rows(path).train._rows[0].facts.keys[7]
    mark = bytes(key).ljust(16, b"\0").hex()
    data = open_rows(path, exclude=[mark])
    numbers = {one.row for one in (*data.train, *data.validation)}
    assert numbers == set(range(1, 121)) - {8}


def test_own_validation_files_are_prepared_at_once(
    open_rows: Open, write_rows: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = write_rows(_rows()), write_rows([chat("q", "a")], "other.jsonl")
    monkeypatch.setattr(streaming, "STREAM_BYTES", path.stat().st_size)
    data = open_rows(path, validation=[{"source": str(other)}])
    assert isinstance(data, StreamedRows)
    assert (len(data.train), len(data.validation)) == (120, 1)
    assert len(_prepare_rest(data).validation) == 1


@pytest.mark.parametrize("is_windows", [False, True])
def test_what_was_put_by_is_deleted_when_data_is_closed(
    open_rows: Open,
    write_rows: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_windows: bool,
) -> None:
    if is_windows:
        follow_windows_rules(monkeypatch)
    data = open_rows(write_rows(_rows()))
    folder = tmp_path / "cache"
    assert [one for one in folder.iterdir() if one.name.startswith(".part-")]
    data.start_rest()
    data.close()
    assert data.rest is not None
    assert data.rest.is_done
    assert not [one for one in folder.iterdir() if one.name.startswith(".part-")]
