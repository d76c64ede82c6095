"""The time of an epoch with a limit is the forecast's, for the rows as they were counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from studio.core.events.types import LimitsMeasured
from studio.core.memory.card import find_device
from studio.core.memory.forecast import build_forecast
from studio.core.memory.model import load_anatomy
from studio.core.memory.rows import RowLengths
from studio.core.paths import Home
from studio.gui.bridge.background import Background
from studio.gui.bridge.epoch_clock import EpochClock, build_rows
from tests.gui.story import build_recipe

LENGTHS = [30] * 60 + [90] * 30 + [390] * 10


def measure() -> LimitsMeasured:
    return LimitsMeasured(
        request=1,
        limits=(390,),
        cut_rows_fraction=(0.0,),
        lost_rows_fraction=(0.0,),
        lost_supervised_fraction=(0.0,),
        kept_tokens_fraction=(1.0,),
        edges=(30, 31, 90, 91, 390, 391),
        rows=(60, 0, 30, 0, 10),
        max_tokens=390,
        auto_tokens=390,
        longest_tokens=390,
        counted_rows=100,
        counted_tokens=sum(LENGTHS),
        supervised_fraction=0.5,
    )


def test_rows_are_told_by_their_histogram() -> None:
    rows = build_rows(measure())
    assert rows is not None
    assert (rows.rows, rows.supervised_fraction) == (100, 0.5)
    assert rows.mean_tokens == pytest.approx(sum(LENGTHS) / 100)
    assert len(rows.lengths) == 100
    empty = measure().model_copy(update={"rows": (), "counted_rows": 0})
    assert build_rows(empty) is None


def test_shorter_rows_take_less_time(
    qtbot: QtBot, material: Path, tmp_path: Path, home: Home
) -> None:
    background = Background()
    clock = EpochClock(background, home)
    model = str(material / "models" / "stories260K-hf")
    recipe = build_recipe(
        "a", tmp_path, base={"model": model}, train={"devices": "cpu", "epochs": 1}
    )
    assert clock.find_time(measure(), 100) is None
    with qtbot.waitSignal(clock.ready):
        clock.follow(recipe, tmp_path)
    cut, whole = clock.find_time(measure(), 90), clock.find_time(measure(), 390)
    assert cut is not None
    assert whole is not None
    assert cut.is_guess
    # Less than the share of tokens that are left: attention looks back over shorter rows too.
    share = sum(min(one, 90) for one in LENGTHS) / sum(LENGTHS)
    assert 0.5 * share < cut.seconds / whole.seconds < share
    data = recipe.data.model_copy(update={"max_tokens": 390})
    told = build_forecast(
        recipe.model_copy(update={"data": data}),
        load_anatomy(recipe, tmp_path),
        find_device("cpu"),
        RowLengths.of(LENGTHS, 0.5),
        10**12,
    )
    assert whole.seconds == pytest.approx(told.time.seconds_per_epoch, rel=0.05)
    clock.follow(None, tmp_path)
    assert clock.find_time(measure(), 90) is None
    background.close()
