"""Pruning from the command line."""

from __future__ import annotations

from pathlib import Path

from safetensors.numpy import load_file

from studio.core.starter import load_starter
from tests.cli.conftest import CommandLine


def test_a_model_is_pruned_once_and_bad_wishes_are_named(
    lora_studio: CommandLine, tmp_path: Path
) -> None:
    model, out = load_starter().model_folder, tmp_path / "sparse"
    outcome = lora_studio("prune", model, "--pattern", "two_four", "--out", out, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.result["zero_fraction"] == 0.5
    weights = load_file(out / "model.safetensors")
    query = next(values for name, values in weights.items() if name.endswith("q_proj.weight"))
    assert ((query.reshape(-1, 4) != 0).sum(1) == 2).all()
    again = lora_studio("prune", model, "--out", out)
    assert again.code == 1
    assert "not empty" in again.error_line
    bad = lora_studio("prune", model, "--sparsity", "1.5", "--out", tmp_path / "other")
    assert bad.code == 2
    assert "--sparsity" in bad.error_line
