"""The size of a tile of logits is measured once and then known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from studio.engine.train import tile
from studio.engine.train.loss import LogitRule, get_tile_rows

CPU = torch.device("cpu")


def _build_head(vocabulary: int, width: int = 8) -> nn.Linear:
    return nn.Linear(width, vocabulary, bias=False).requires_grad_(False)


def test_a_small_vocabulary_takes_the_usual_size_without_measuring(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tile, "_measure", pytest.fail)
    rows = tile.tune_tile_rows(_build_head(64), LogitRule(), tmp_path)
    assert rows == get_tile_rows(64, CPU)


def test_the_fastest_size_per_row_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = get_tile_rows(50_000, CPU)
    best = int(usual * 0.5)
    monkeypatch.setattr(tile, "_time_tile", lambda *at: at[2] * (1e-6 if at[2] == best else 2e-6))
    assert tile.tune_tile_rows(_build_head(50_000), LogitRule()) == best


@pytest.mark.parametrize(("gain", "share"), [(1.02, 0.25), (1.2, 1.0)])
def test_a_larger_tile_must_be_faster(
    gain: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = get_tile_rows(50_000, CPU)
    monkeypatch.setattr(
        tile, "_time_tile", lambda *at: at[2] / (1e6 * gain if at[2] == usual else 1e6)
    )
    assert tile.tune_tile_rows(_build_head(50_000), LogitRule()) == int(share * usual)


def test_a_slow_device_is_not_measured_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setattr(tile, "_time_tile", lambda *at: tried.append(at[2]) or 10.0)
    tile.tune_tile_rows(_build_head(50_000), LogitRule())
    assert len(set(tried)) == 1


@pytest.mark.parametrize(("fits", "share"), [(0.5, 0.5), (0.0, 0.25)])
def test_a_size_that_does_not_fit_is_not_taken(
    fits: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = get_tile_rows(50_000, CPU)

    def time_tile(head: nn.Module, rule: LogitRule, rows: int) -> float:
        if rows > fits * usual:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return 1e-6

    monkeypatch.setattr(tile, "_time_tile", time_tile)
    assert tile.tune_tile_rows(_build_head(50_000), LogitRule()) == int(share * usual)


def test_what_was_measured_is_kept_and_a_broken_file_is_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    head = _build_head(50_000)
    rows = tile.tune_tile_rows(head, LogitRule(), tmp_path)
    (path,) = (tmp_path / "tiles").iterdir()
    assert json.loads(path.read_text()) == {"rows": rows}
    path.write_text('{"rows": 17}')
    assert tile.tune_tile_rows(head, LogitRule(), tmp_path) == 17
    path.write_text("{")
    monkeypatch.setattr(tile, "_time_tile", lambda *at: 1.0 + 0 * at[2])
    assert tile.tune_tile_rows(head, LogitRule(), tmp_path) == get_tile_rows(50_000, CPU)
