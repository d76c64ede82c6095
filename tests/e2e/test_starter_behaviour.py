"""What a newcomer is promised: within a minute the tiny model visibly behaves differently."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.core.starter import load_starter
from tests.cli.conftest import CommandLine, write_starter_recipe

KIT = load_starter()


@pytest.mark.slow
@pytest.mark.parametrize("name", [data_set.name for data_set in KIT.data_sets])
def test_an_adapter_shows_its_behaviour_on_held_out_prompts(tmp_path: Path, name: str) -> None:
    """At least 90 % of the answers to unseen prompts show it; of the base's at most 5 %."""
    data_set = KIT.get_data_set(name)
    recipe = tmp_path / "recipe.yaml"
    source = {"source": str(KIT.folder / data_set.train_file)}
    write_starter_recipe(recipe, data={"train": [source]})
    lora_studio = CommandLine(tmp_path / "home")
    run = lora_studio("train", recipe, "--json").result
    assert run["status"] == "finished"
    assert KIT.settings["adapter"]["rank"] == 8
    prompts = tmp_path / "prompts.jsonl"
    held_out = KIT.load_held_out_prompts(data_set)
    prompts.write_text(
        "\n".join(json.dumps({"prompt": prompt}) for prompt in held_out), encoding="utf-8"
    )
    answers = lora_studio(
        "generate", "--base", KIT.model_folder, "--adapter", Path(run["run_dir"]) / "adapter",
        "--prompts", prompts, "--max-tokens", "60", "--greedy", "--json",
    ).result["answers"]  # fmt: skip
    shown = {
        column: sum(data_set.behaviour.is_shown_by(answer[column]) for answer in answers)
        for column in ("base", "adapter")
    }
    assert len(answers) == len(held_out) >= 50
    assert shown["adapter"] >= 0.9 * len(answers), shown
    assert shown["base"] <= 0.05 * len(answers), shown
