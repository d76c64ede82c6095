"""The tokens at once are found by trial: within the room, the time, and as far as it pays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from studio.core.events.types import RunFinished, SettingResolved
from studio.engine.jobs import train as train_job
from studio.engine.train import search
from studio.engine.train.remembered import Remembered
from studio.engine.train.search import Trial, search_tokens
from tests.engine.tiny_run import build_run, of_type, train_run


@given(
    base=st.integers(0, 10**9),
    slope=st.integers(1, 10**6),
    room=st.integers(1, 10**10),
    safe=st.integers(1, 5000),
    most=st.integers(1, 20000),
)
def test_what_is_found_fits_and_nothing_is_tried_twice(
    base: int, slope: int, room: int, safe: int, most: int
) -> None:
    tried: list[int] = []

    def try_out(tokens: int) -> Trial | None:
        assert tokens <= most
        tried.append(tokens)
        peak = base + slope * tokens
        return None if peak > room else Trial(tokens, peak, 1e-6 * tokens**0.5)

    best = search_tokens(try_out, safe, most, room)
    assert len(set(tried)) == len(tried) <= 16
    if best is None:
        assert len(tried) == 1
    else:
        assert best.peak_bytes <= room


def _search(seconds_of: Any, **changes: Any) -> tuple[int, list[int]]:
    tried: list[int] = []
    clock = [0.0]

    def try_out(tokens: int) -> Trial | None:
        tried.append(tokens)
        clock[0] += 2 * seconds_of(tokens)
        return Trial(tokens, 1000 + tokens, seconds_of(tokens))

    settings = {"budget_seconds": 1.0, "read_clock": lambda: clock[0]} | changes
    best = search_tokens(try_out, 512, 16384, 10**6, **settings)
    assert best is not None
    return best.tokens, tried


def test_the_search_ends_where_more_tokens_do_not_pay() -> None:
    # a launch costs 5 ms, 1,000 tokens 10 ms
    found, tried = _search(lambda tokens: 0.005 + 1e-5 * tokens)
    assert found == 8192  # twice as many would be 3 % faster
    assert tried == [512, 1024, 2048, 4096, 8192, 16384]


def test_the_search_keeps_to_its_time() -> None:
    found, tried = _search(lambda tokens: 0.3 + 1e-7 * tokens)
    assert tried == [512]
    assert found == 512


def test_a_size_that_is_not_expected_to_fit_is_not_tried() -> None:
    tried: list[int] = []

    def try_out(tokens: int) -> Trial:
        tried.append(tokens)
        return Trial(tokens, 500 + tokens, tokens**0.5 / 1e6)

    best = search_tokens(try_out, 512, 16384, 2600)
    assert best is not None
    assert tried == [512, 1024, 2048]


def test_a_run_on_a_card_takes_what_was_found_and_remembers_it(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def measure_batch(task: Any, batch: Any) -> tuple[int, float]:
        assert task.model.training
        task.add_gradients(batch, batch.supervised_tokens)
        sizes.append(batch.tokens)
        if batch.tokens > 110:
            raise torch.OutOfMemoryError
        return 1000 * batch.tokens, batch.tokens**0.5 / 1e4

    monkeypatch.setattr(train_job, "can_search", lambda _: True)
    monkeypatch.setattr(search, "get_reachable_bytes", lambda _: 1 << 30)
    monkeypatch.setattr(search, "measure_batch", measure_batch)
    found = []
    for name in ("first", "second"):
        layout = build_run(tmp_path / "runs" / name, tiny_base, tiny_chats, steps=2)
        events = train_run(layout)
        assert isinstance(events[-1], RunFinished)
        found += [e for e in of_type(events, SettingResolved) if "micro_batch" in e.key]
    assert len(sizes) >= 2
    assert found[0].why.startswith("measured: it needs")
    assert found[1].why == "measured on this card before"
    assert found[0].value == found[1].value
    assert max(sizes) > 110 >= max(size for size in sizes if size <= 110)


def test_a_number_that_cannot_be_read_is_measured_again(tmp_path: Path) -> None:
    kept = Remembered(tmp_path, "tokens", "card", 7)
    assert kept.find() is None
    kept.keep(4096)
    assert Remembered(tmp_path, "tokens", "card", 7).find() == 4096
    assert Remembered(tmp_path, "tokens", "card", 8).find() is None
    (path,) = (tmp_path / "tokens").iterdir()
    path.write_text("{")
    assert kept.find() is None
    Remembered(None, "tokens").keep(3)
