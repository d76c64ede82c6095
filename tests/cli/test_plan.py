"""``plan`` says before the start what a recipe needs, measures on request, and advises."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from studio.cli.plan import parse_size
from studio.core.starter import load_starter
from tests.cli.conftest import CommandLine, write_starter_recipe
from tests.core.memory.published import PUBLISHED

KEYS = {
    "fits",
    "bytes_by_part",
    "total_bytes",
    "trainable_parameters",
    "seconds_estimate",
    "advice",
}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    write_starter_recipe(path)
    return path


def plan(lora_studio: CommandLine, *arguments: str | Path) -> dict[str, Any]:
    outcome = lora_studio("plan", *arguments, "--json")
    assert outcome.code == 0, outcome.err
    assert len(outcome.out.splitlines()) == 1
    return outcome.result


def test_the_forecast_has_the_promised_keys_and_adds_up(
    lora_studio: CommandLine, recipe: Path
) -> None:
    result = plan(lora_studio, recipe)
    assert result.keys() >= KEYS
    assert result["fits"] is True
    assert sum(result["bytes_by_part"].values()) == result["total_bytes"]
    assert result["advice"] == []
    assert result["seconds_estimate"] > 0


def test_people_read_a_table(lora_studio: CommandLine, recipe: Path) -> None:
    outcome = lora_studio("plan", recipe)
    assert outcome.code == 0
    assert "Base model" in outcome.out
    assert "It fits into" in outcome.out
    assert "the speed is a guess" in outcome.out


def test_what_does_not_fit_is_answered_with_advice(lora_studio: CommandLine, recipe: Path) -> None:
    whole = plan(lora_studio, recipe)["total_bytes"]
    result = plan(lora_studio, recipe, "--budget", f"{whole - 30_000_000}B")
    assert result["fits"] is False
    needed = [item for item in result["advice"] if item["is_needed"]]
    assert needed
    assert result["advised_bytes"] <= whole - 30_000_000
    changes = [f"--set={key}={value}" for item in needed for key, value in item["set"].items()]
    assert plan(lora_studio, recipe, *changes)["total_bytes"] <= whole - 30_000_000


@pytest.mark.slow
def test_a_dry_run_corrects_this_and_later_forecasts(
    lora_studio: CommandLine, recipe: Path
) -> None:
    measured = plan(lora_studio, recipe, "--measure")
    assert measured["is_measured"]
    assert measured["rows"] == {
        "count": measured["rows"]["count"],
        "mean_tokens": measured["rows"]["mean_tokens"],
        "longest_tokens": measured["rows"]["longest_tokens"],
        "is_guess": False,
    }
    assert not measured["is_speed_guessed"]
    trained = lora_studio("train", recipe, "--json", "--set", "train.steps=3").result
    assert measured["trainable_parameters"] == trained["trainable_parameters"]
    assert measured["total_bytes"] == pytest.approx(trained["peak_memory_bytes"], rel=0.25)
    assert plan(lora_studio, recipe)["is_measured"]
    assert not list((lora_studio.home / "jobs").iterdir())


def test_a_model_that_is_not_downloaded_needs_only_its_configuration(
    lora_studio: CommandLine, tmp_path: Path
) -> None:
    folder = tmp_path / "llama-8b"
    folder.mkdir()
    config, parameters = PUBLISHED["Llama-3.1-8B"]
    (folder / "config.json").write_text(json.dumps(config))
    path = tmp_path / "recipe.yaml"
    write_starter_recipe(path, base={"model": str(folder), "dtype": "bfloat16"})
    result = plan(lora_studio, path, "--budget", "24GB")
    assert result["bytes_by_part"]["base"] == 2 * parameters
    assert result["fits"] is True


def test_an_unknown_model_is_refused_in_one_line(lora_studio: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    write_starter_recipe(path, base={"model": "nobody/nothing"})
    outcome = lora_studio("plan", path)
    assert outcome.code == 1
    assert "nobody/nothing" in outcome.error_line


def test_targets_that_do_not_exist_are_refused(lora_studio: CommandLine, recipe: Path) -> None:
    outcome = lora_studio("plan", recipe, "--set", "adapter.targets=[no_such_proj]")
    assert outcome.code == 2
    assert "no_such_proj" in outcome.error_line


def test_a_folder_without_weights_of_an_unknown_family_is_refused(
    lora_studio: CommandLine, tmp_path: Path
) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(load_starter().model_folder, folder)
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "odd"}))
    path = tmp_path / "recipe.yaml"
    write_starter_recipe(path, base={"model": str(folder)})
    outcome = lora_studio("plan", path)
    assert outcome.code == 1
    assert "Download the model" in outcome.error_line


@pytest.mark.parametrize(
    ("text", "size"),
    [("12GB", 12 << 30), ("800 mb", 800 << 20), ("1.5GiB", 3 << 29), ("64k", 65536), ("7", 7)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "0GB", "-3GB", "12 apples", "nan"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no size"):
        parse_size(text)


def test_a_card_that_is_not_there_can_be_planned_for(
    lora_studio: CommandLine, recipe: Path
) -> None:
    result = plan(lora_studio, recipe, "--card", "8")
    assert result["device"] == "a card with 8 GB"
    assert result["budget_bytes"] == int(7.5 * (1 << 30))
    assert result["tokens_per_second"] > 0
    outcome = lora_studio("plan", recipe, "--card", "8", "--set", "base.offload=layers")
    assert "of the computer's memory;" in outcome.out
    assert "15.0T operations a second" in outcome.out
    assert lora_studio("plan", recipe, "--card", "7").code == 2
