"""The dry run trains on the longest rows, states what it took, and keeps nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from studio.core.events.types import DryRunMeasured, RowsCounted, RunFinished
from studio.core.jobs.orders import MeasureOrder, Stop
from studio.core.memory.ledger import build_ledger
from studio.core.memory.model import read_model_folder
from studio.core.memory.rows import RowLengths
from studio.core.recipe.load import load_recipe
from studio.core.runs.layout import RunLayout
from studio.engine.jobs import measure
from studio.engine.train import peak
from studio.engine.train.peak import PeakMeter
from tests.core.memory.situations import build_cpu
from tests.engine.tiny_run import (
    ScriptedControl,
    build_base,
    build_run,
    listen,
    of_type,
    write_chats,
)


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    base = build_base(tmp_path / "base")
    data = write_chats(tmp_path / "chats.jsonl", rows=30)
    order = MeasureOrder(base_folder=str(tmp_path))
    return build_run(
        tmp_path / "run", base, data, order=order, micro_batch_tokens=100, devices="cpu"
    )


def run_measure(layout: RunLayout, control: ScriptedControl | None = None) -> list[Any]:
    control = control or ScriptedControl(layout)
    order = MeasureOrder(base_folder=str(layout.folder))
    return list(listen(measure.run(order, layout, control), control))


def test_it_measures_the_longest_rows_and_keeps_nothing(layout: RunLayout) -> None:
    before = set(layout.folder.iterdir())
    events = run_measure(layout)
    (rows,) = of_type(events, RowsCounted)
    (found,) = of_type(events, DryRunMeasured)
    assert rows.lengths == tuple(sorted(rows.lengths, reverse=True))
    assert max(found.documents) == rows.lengths[0]
    assert sum(found.documents) <= 100
    assert found.peak_bytes >= found.loaded_bytes > 0
    assert found.seconds > 0
    assert (found.dtype, found.recomputing, found.device) == ("float32", (2, 0, 0), "cpu")
    assert isinstance(events[-1], RunFinished)
    assert set(layout.folder.iterdir()) == before


def test_the_forecast_expects_the_micro_batch_that_is_measured(layout: RunLayout) -> None:
    events = run_measure(layout)
    (rows,) = of_type(events, RowsCounted)
    (found,) = of_type(events, DryRunMeasured)
    recipe = load_recipe(layout.recipe)
    anatomy = read_model_folder(Path(recipe.base.model))
    lengths = RowLengths(rows.lengths, rows.rows, rows.mean_tokens, rows.supervised_fraction)
    settled = build_ledger(recipe, anatomy, build_cpu(8), lengths).settled
    assert settled.documents[0] == max(found.documents)
    assert settled.tokens == pytest.approx(sum(found.documents), rel=0.15)
    assert settled.supervised_tokens >= 0.9 * found.supervised_tokens


def test_stop_ends_it_without_a_measurement(layout: RunLayout) -> None:
    control = ScriptedControl(layout)
    control.at(lambda seen: bool(of_type(seen, RowsCounted)), Stop())
    events = run_measure(layout, control)
    assert not of_type(events, DryRunMeasured)
    assert isinstance(events[-1], RunFinished)


@pytest.mark.parametrize("is_exact", [True, False])
def test_the_peak_is_seen_after_the_memory_was_given_back(
    is_exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_exact:
        monkeypatch.setattr(peak, "_reset_high_water", lambda: False)
    meter = PeakMeter(torch.device("cpu"), free_bytes=0)
    start = meter.start()
    block = torch.zeros(96 << 20, dtype=torch.uint8)
    while is_exact is False and meter._sampler is not None and meter._sampler._peak < start:
        pass  # until the sampler has looked once
    held = block.fill_(1)
    for _ in range(20):
        held.add_(1)
    del block, held
    assert meter.stop() >= start + (64 << 20)
