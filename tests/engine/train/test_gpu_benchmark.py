"""The benchmark for cards runs through on the processor with a tiny shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import gpu, gpu_guards

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def test_a_dry_run_checks_the_parts_and_writes_the_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu, "PEERS", ())
    out = tmp_path / "gpu.md"
    words = ["--shape", "tiny", "--device", "cpu", "--steps", "1", "--warm-steps", "1"]
    gpu.main([*words, "--out", str(out)])
    text = out.read_text(encoding="utf-8")
    assert "| packed attention |" in text
    for mode in gpu.OURS:
        assert f"| ours, {mode} |" in text
    assert "out of memory" not in text


def test_the_floor_of_a_real_model_is_the_published_one() -> None:
    # 4.66 billion operations per token: documents of 512 tokens, 55 % of them supervised
    shape = gpu.SHAPES["llama-1b"]
    documents = [gpu.Document(np.zeros(512, np.int32), np.arange(512) >= 0.45 * 512)]
    assert gpu.count_floor(shape, documents) / 1e9 == pytest.approx(4.66, rel=0.02)


def test_the_guards_of_cards_are_checked_in_a_dry_run(tmp_path: Path) -> None:
    out = tmp_path / "guards.md"
    gpu_guards.main(["--device", "cpu", "--small", "--out", str(out)])
    text = out.read_text(encoding="utf-8")
    for way in gpu_guards.WAYS:
        assert f"| {way}" in text
