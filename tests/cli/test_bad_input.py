"""Bad input gets one line that says what, why and what to do; nothing is lost or started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine, Outcome, write_starter_recipe

ROW = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho."}]}
STARTER = Path(__file__).resolve().parents[2] / "resources" / "starter"


def _write_rows(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _train_on(lora_studio: CommandLine, folder: Path, source: Path) -> Outcome:
    recipe = folder / "recipe.yaml"
    write_starter_recipe(recipe, data={"train": [{"source": str(source)}]})
    return lora_studio("train", recipe)


def _assert_told(outcome: Outcome, code: int, *words: str) -> None:
    assert outcome.code == code, outcome.err
    for word in words:
        assert word in outcome.error_line


def test_a_missing_recipe(lora_studio: CommandLine, tmp_path: Path) -> None:
    _assert_told(lora_studio("train", tmp_path / "no.yaml"), 1, "no.yaml")


def test_an_unknown_key_names_the_nearest_known_one(
    lora_studio: CommandLine, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    write_starter_recipe(recipe, adapter={"rnk": 8})
    _assert_told(lora_studio("train", recipe), 2, "adapter.rnk", "rank")


def test_rank_zero_is_refused_with_the_range(lora_studio: CommandLine, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    write_starter_recipe(recipe)
    _assert_told(lora_studio("train", recipe, "--set", "adapter.rank=0"), 2, "adapter.rank", "1")


def test_a_value_of_later_is_refused_not_ignored(lora_studio: CommandLine, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    write_starter_recipe(recipe)
    outcome = lora_studio("train", recipe, "--set", "task=speech_recognition")
    _assert_told(outcome, 2, "task", "not available yet")


def test_missing_training_data(lora_studio: CommandLine, tmp_path: Path) -> None:
    _assert_told(_train_on(lora_studio, tmp_path, tmp_path / "gone.jsonl"), 1, "gone.jsonl")


def test_empty_training_data(lora_studio: CommandLine, tmp_path: Path) -> None:
    source = _write_rows(tmp_path / "empty.jsonl", "")
    _assert_told(_train_on(lora_studio, tmp_path, source), 1, "empty.jsonl", "empty")


def test_broken_json_names_the_line(lora_studio: CommandLine, tmp_path: Path) -> None:
    good = json.dumps(ROW)
    source = _write_rows(tmp_path / "rows.jsonl", f'{good}\n{good}\n{{"messages": [\n{good}\n')
    _assert_told(_train_on(lora_studio, tmp_path, source), 1, "rows.jsonl", "line 3")


def test_wrong_columns_are_listed(lora_studio: CommandLine, tmp_path: Path) -> None:
    source = _write_rows(tmp_path / "rows.jsonl", '{"colour": "red", "size": 3}\n' * 4)
    _assert_told(_train_on(lora_studio, tmp_path, source), 1, "colour", "size")


def test_a_folder_that_is_no_model(lora_studio: CommandLine, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    (tmp_path / "empty").mkdir()
    write_starter_recipe(recipe, base={"model": str(tmp_path / "empty")})
    _assert_told(lora_studio("train", recipe), 1, "config.json")
    _assert_told(lora_studio("layers", tmp_path / "empty"), 1, "config.json")


def test_pickle_weights_are_refused(lora_studio: CommandLine, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(STARTER / "model", model)
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(b"not even a pickle")
    recipe = tmp_path / "recipe.yaml"
    write_starter_recipe(recipe, base={"model": str(model)})
    _assert_told(lora_studio("train", recipe), 1, "pickle", "safetensors")


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "a-file"
    blocked.write_text("in the way", encoding="utf-8")
    recipe = tmp_path / "recipe.yaml"
    write_starter_recipe(recipe)
    outcome = CommandLine(blocked / "home")("train", recipe)
    _assert_told(outcome, 1, "a-file")
    assert blocked.read_text(encoding="utf-8") == "in the way"


def test_an_output_folder_in_use_is_left_alone(
    trained: tuple[CommandLine, Path, dict[str, str]], tmp_path: Path
) -> None:
    command_line, _, result = trained
    (tmp_path / "mine.txt").write_text("keep", encoding="utf-8")
    outcome = command_line("export", result["id"], "--to", "merged", "--out", tmp_path)
    _assert_told(outcome, 1, "not empty")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_export_of_nothing_known(lora_studio: CommandLine, tmp_path: Path) -> None:
    outcome = lora_studio("export", "nothing", "--to", "adapter", "--out", tmp_path / "out")
    _assert_told(outcome, 1, "nothing", "runs list")


def test_wrong_prompts_name_the_line(lora_studio: CommandLine, tmp_path: Path) -> None:
    prompts = _write_rows(tmp_path / "prompts.jsonl", '{"prompt": "ok"}\n{"question": "?"}\n')
    outcome = lora_studio("generate", "--base", STARTER / "model", "--prompts", prompts)
    _assert_told(outcome, 1, "line 2", "prompt")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte; only root on Linux can make one."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("making a small file system needs root on Linux")
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this machine does not allow mounting a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_keeps_what_was_saved(tiny_disk: Path, tmp_path: Path) -> None:
    """The adapter (370 KB) fits once with its journal, the optimizer state beside it does not."""
    recipe = tmp_path / "recipe.yaml"
    write_starter_recipe(recipe)
    outcome = CommandLine(tiny_disk / "home")("train", recipe, "--set", "train.steps=4")
    _assert_told(outcome, 1, "full")
    assert not list(tiny_disk.rglob("*.tmp*")), "half-written files were left behind"
