"""The benchmark of answers side by side runs through; memory is the base and the adapters."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import compare_speed

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def test_a_dry_run_writes_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_speed.warnings, "simplefilter", lambda _: None)
    out = tmp_path / "speed.md"
    words = ["--shape", "tiny", "--counts", "1", "3", "--answer-tokens", "4", "--repeats", "1"]
    compare_speed.main([*words, "--out", str(out)])
    rows = [line for line in out.read_text(encoding="utf-8").splitlines() if line[:3] == "| 3"]
    assert len(rows) == 1
    assert rows[0].count("|") == 12


def test_n_columns_hold_the_base_once_and_each_adapter_once(tmp_path: Path) -> None:
    parser = compare_speed.argparse.Namespace(
        device="cpu",
        shape="tiny",
        counts=[4],
        answer_tokens=2,
        repeats=1,
        skip_peers=True,
        minutes=60.0,
    )
    bench = compare_speed.Bench(parser, tmp_path)
    base = compare_speed.count_bytes(bench.base)
    adapters = [(folder / "adapter_model.safetensors").stat().st_size for folder in bench.folders]
    held = bench.measure(4).bytes
    assert base + 0.9 * sum(adapters) < held <= base + sum(adapters)
