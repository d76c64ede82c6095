"""A run over a base in 4 bits from the command line: stopped, resumed, measured and merged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from studio.core.starter import load_starter
from studio.core.weights.adapter_file import read_seen_base
from studio.core.weights.layers import load_layers
from tests.cli.conftest import CommandLine, write_starter_recipe


def _train_and_interrupt(command_line: CommandLine, *arguments: str | Path) -> str:
    """Starts a run and presses Ctrl-C behind its first step; returns what was said."""
    child = subprocess.Popen(
        [sys.executable, "-m", "studio", "train", *map(str, arguments), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        env={**os.environ, "LORA_STUDIO_HOME": str(command_line.home)},
    )
    with child:
        assert child.stderr is not None
        said = ""
        for line in child.stderr:
            said += line
            if line.lstrip().startswith("step 1/"):
                child.send_signal(signal.SIGINT)
        child.wait(timeout=120)
    assert child.returncode == 0, said
    return said


def test_a_run_in_four_bits_is_stopped_resumed_measured_and_merged(
    lora_studio: CommandLine, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    write_starter_recipe(recipe)
    wishes = ("--set", "base.quantisation=nf4", "--set", "train.steps=24")
    said = _train_and_interrupt(lora_studio, recipe, *wishes)
    assert "layers of the base are held in 4 bits (NF4)" in said
    (run,) = lora_studio("runs", "list", "--json").result["runs"]
    assert run["status"] == "stopped"
    resumed = lora_studio("resume", run["id"], "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.result["status"] == "finished"
    assert resumed.result["steps"] == 24
    assert resumed.result["last_loss"] < resumed.result["first_loss"]
    adapter = Path(resumed.result["run_dir"]) / "adapter"
    assert read_seen_base(adapter).quantisation == "nf4"

    base = load_starter().model_folder
    measured = lora_studio(
        *("evaluate", "--base", base, "--adapter", run["id"], "--run", run["id"], "--json"),
        *("--metrics", "loss", "--limit", "4"),
    )
    assert measured.code == 0, measured.err
    assert "held in 4 bits" in measured.err
    results = measured.result["results"]
    assert results["adapter"]["loss"]["value"] < results["base"]["loss"]["value"]

    out = tmp_path / "merged"
    merged = lora_studio("export", run["id"], "--to", "merged", "--out", out, "--json")
    assert merged.code == 0, merged.err
    assert merged.result["verified"]
    assert load_layers(out).stored == "none"
    assert load_layers(out).parameters == load_layers(base).parameters
