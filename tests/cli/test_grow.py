"""New tokens from the command line."""

from __future__ import annotations

from pathlib import Path

from studio.core.starter import load_starter
from tests.cli.conftest import CommandLine, write_starter_recipe


def test_a_model_gets_a_token_that_a_recipe_can_train(
    lora_studio: CommandLine, tmp_path: Path
) -> None:
    model, out = load_starter().model_folder, tmp_path / "grown"
    outcome = lora_studio("grow", model, "--token", "<tool>", "--out", out, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.result == {"model_dir": str(out), "tokens": ["<tool>"]}
    again = lora_studio("grow", out, "--token", "<tool>", "--out", tmp_path / "other")
    assert again.code == 1
    assert "has the token '<tool>' already" in again.error_line
    recipe = tmp_path / "recipe.yaml"
    adapter = {"trained_tokens": ["<tool>"]}
    write_starter_recipe(recipe, base={"model": str(out)}, adapter=adapter)
    plan = lora_studio("plan", recipe, "--json")
    assert plan.code == 0, plan.err
