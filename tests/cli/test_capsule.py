"""A run travels: packed, brought in elsewhere, used like any other and trained again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cli.conftest import CommandLine

Trained = tuple[CommandLine, Path, dict[str, Any]]


def test_a_run_travels_as_a_capsule_and_can_be_repeated(trained: Trained, tmp_path: Path) -> None:
    _, recipe, _ = trained
    first = CommandLine(tmp_path / "first")
    short = first("train", recipe, "--json", "--set", "train.steps=2").result
    packed = first("export", short["id"], "--to", "capsule", "--out", tmp_path / "out", "--json")
    assert packed.code == 0, packed.err
    (capsule,) = packed.result["files"]
    assert packed.result["verified"]
    second = CommandLine(tmp_path / "second")
    brought = second("runs", "import", capsule, "--name", "theirs", "--json")
    assert brought.code == 0, brought.err
    (run,) = brought.result["runs"]
    assert (run["name"], run["status"], run["steps"]) == ("theirs", "finished", 2)
    assert run["last_loss"] == short["last_loss"]
    repeated = second("runs", "repeat", "theirs", "--json")
    assert repeated.code == 0, repeated.err
    assert repeated.result["is_same"]
    assert repeated.result["last_loss"] == short["last_loss"]


def test_an_adapter_folder_becomes_a_run_that_other_commands_take(
    trained: Trained, tmp_path: Path
) -> None:
    _, _, result = trained
    here = CommandLine(tmp_path / "home")
    adapter = Path(result["run_dir"]) / "adapter"
    assert here("runs", "import", adapter, "--name", "mine").code == 0
    exported = here("export", "mine", "--to", "adapter", "--out", tmp_path / "out", "--json")
    assert exported.code == 0, exported.err
    assert exported.result["verified"]


def test_what_is_no_adapter_is_refused_in_words(lora_studio: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "evil.zip").write_bytes(b"PK nothing")
    outcome = lora_studio("runs", "import", tmp_path / "evil.zip", "--json")
    assert outcome.code == 1
    assert "no zip file" in outcome.error_line
    assert list((tmp_path / "home" / "runs").glob("*")) == []
