"""The hub from the command line: fetched, resumed, refused offline, trained on by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from studio.core.starter import load_starter
from tests.cli.conftest import CommandLine, write_starter_recipe
from tests.core.hub.fake_hub import FakeHub, running_hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with the starter as a model and as a data set."""
    with running_hub(tmp_path, monkeypatch) as running:
        yield running


def test_a_model_and_a_data_set_are_fetched_and_trained_on_by_name(
    lora_studio: CommandLine, hub: FakeHub, tmp_path: Path
) -> None:
    kit = load_starter()
    commit = hub.add_folder("acme/base", kit.model_folder)
    rows = (kit.folder / kit.get_data_set().train_file).read_bytes()
    files = {"data/train.jsonl": rows, "README.md": b"# Rows"}
    rows_commit = hub.add("acme/rows", files, "dataset")
    hub.cuts = [4000]
    model = lora_studio("download", "acme/base", "--json")
    assert model.code == 0, model.err
    assert model.result["revision"] == commit
    assert Path(model.result["path"], "model.safetensors").is_file()
    assert hub.ranges("model.safetensors") == [None, "bytes=4000-"]
    data = lora_studio("download", f"{hub.url}/datasets/acme/rows", "--json")
    assert data.code == 0, data.err
    assert data.result["revision"] == rows_commit

    recipe = tmp_path / "recipe.yaml"
    sources = {"train": [{"source": "hub:acme/rows"}]}
    write_starter_recipe(recipe, base={"model": "acme/base"}, data=sources)
    outcome = lora_studio("train", recipe, "--json", "--offline", "--set", "train.steps=1")
    assert outcome.code == 0, outcome.err
    kept = yaml.safe_load(
        Path(outcome.result["run_dir"], "recipe.yaml").read_text(encoding="utf-8")
    )
    assert kept["base"]["revision"] == commit
    assert kept["data"]["train"][0]["revision"] == rows_commit


def test_a_name_that_is_no_model_is_looked_for_among_the_data_sets(
    lora_studio: CommandLine, hub: FakeHub
) -> None:
    hub.add("acme/rows", {"a.jsonl": b"{}", "b/c.jsonl": b"{}"}, "dataset")
    outcome = lora_studio("download", "acme/rows", "--json", "--only", "b")
    assert outcome.code == 0, outcome.err
    found = {path.name for path in Path(outcome.result["path"]).rglob("*.jsonl")}
    assert found == {"c.jsonl"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["acme/none"], 1, "no model acme/none on the hub"),
        (["acme/base", "--offline"], 1, "started with --offline"),
        (["../etc"], 2, "no name of a model or data set"),
        (["acme/base", "--revision", "../x"], 2, "no branch, tag or commit"),
    ],
)
def test_what_cannot_be_fetched_is_told(
    lora_studio: CommandLine, hub: FakeHub, arguments: list[str], code: int, words: str
) -> None:
    outcome = lora_studio("download", *arguments, "--json")
    assert outcome.code == code
    assert words in outcome.error_line
    assert outcome.result["error"]["remedy"]


def test_the_setting_of_the_window_holds_for_the_command_line_too(
    lora_studio: CommandLine, hub: FakeHub
) -> None:
    settings = lora_studio.home / "settings"
    settings.mkdir(parents=True)
    (settings / "preferences.json").write_text(json.dumps({"stay_offline": True}))
    outcome = lora_studio("download", "acme/base")
    assert outcome.code == 1
    assert "Stay offline" in outcome.error_line
    assert hub.log == []


def test_training_by_a_name_that_is_not_here_says_how_to_get_it(
    lora_studio: CommandLine, hub: FakeHub, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    write_starter_recipe(recipe, data={"train": [{"source": "hub:acme/rows"}]})
    outcome = lora_studio("train", recipe)
    assert outcome.code == 1
    assert "lora-studio download acme/rows --data" in outcome.error_line


def test_a_model_is_planned_for_before_it_is_downloaded(
    lora_studio: CommandLine, hub: FakeHub, tmp_path: Path
) -> None:
    kit = load_starter()
    hub.add_folder("acme/base", kit.model_folder)
    recipe = tmp_path / "recipe.yaml"
    write_starter_recipe(recipe, base={"model": "acme/base"})
    far = lora_studio("plan", recipe, "--json", "--budget", "8GB")
    assert far.code == 0, far.err
    write_starter_recipe(recipe)
    near = lora_studio("plan", recipe, "--json", "--budget", "8GB")
    assert far.result["bytes_by_part"] == near.result["bytes_by_part"]
    assert far.result["trainable_parameters"] == near.result["trainable_parameters"]
