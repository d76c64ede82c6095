"""Every command keeps the contract of the command line: words, one JSON object, exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CommandLine

Trained = tuple[CommandLine, Path, dict[str, Any]]


def test_train_reports_the_promised_facts(trained: Trained) -> None:
    _, _, result = trained
    assert result["status"] == "finished"
    assert result["steps"] == 40
    assert result["first_loss"] > result["last_loss"] > 0
    assert result["trainable_parameters"] > 0
    assert result["tokens_per_second"] > 0
    assert result["peak_memory_bytes"] > 0
    assert "best_step" in result
    assert "validation_loss" in result
    adapter = Path(result["run_dir"]) / "adapter"
    assert (adapter / "adapter_model.safetensors").is_file()


def test_the_json_object_is_the_only_thing_on_standard_output(trained: Trained) -> None:
    command_line, _, _ = trained
    outcome = command_line("runs", "list", "--json")
    assert len(outcome.out.splitlines()) == 1
    assert [run["name"] for run in outcome.result["runs"]] == ["short"]


def test_runs_can_be_shown_renamed_and_deleted(lora_studio: CommandLine, trained: Trained) -> None:
    _, recipe, _ = trained
    created = lora_studio("train", recipe, "--json", "--set", "train.steps=1").result
    shown = lora_studio("runs", "show", created["id"], "--json").result["runs"][0]
    assert shown["recipe"]["train"]["steps"] == 1
    renamed = lora_studio("runs", "rename", created["id"], "my best run", "--json").result
    assert renamed["runs"][0]["name"] == "my best run"
    assert lora_studio("runs", "delete", "my best run", "--json").code == 0
    assert lora_studio("runs", "list", "--json").result == {"runs": []}
    assert not Path(created["run_dir"]).exists()


def test_a_finished_run_cannot_be_resumed(trained: Trained) -> None:
    command_line, _, result = trained
    outcome = command_line("resume", result["id"], "--json")
    assert outcome.code == 1
    assert "finished" in outcome.error_line
    assert outcome.result["error"]["code"] == "run_conflict"


def test_layers_lists_modules_and_counts_parameters(lora_studio: CommandLine) -> None:
    from studio.core.starter import load_starter

    outcome = lora_studio("layers", load_starter().model_folder, "--json")
    modules = {module["name"]: module for module in outcome.result["modules"]}
    assert modules["model.layers.0.self_attn.q_proj"]["adaptable"]
    assert not modules["model.norm"]["adaptable"]
    assert outcome.result["parameters"] > 1_000_000


def test_preview_shows_ids_texts_and_trained_flags_of_equal_length(trained: Trained) -> None:
    command_line, recipe, _ = trained
    result = command_line("preview", recipe, "--rows", "2", "--json").result
    assert len(result["rows"]) == 2
    for row in result["rows"]:
        assert len(row["ids"]) == len(row["texts"]) == len(row["supervised"])
        assert any(row["supervised"])
        assert not all(row["supervised"])
        assert row["truncated_tokens"] == 0
        trained_text = "".join(
            text
            for text, is_trained in zip(row["texts"], row["supervised"], strict=True)
            if is_trained
        )
        assert "matey" in trained_text
    assert len(result["lengths"]) == 2
    assert isinstance(result["problems"], list)


def test_generate_answers_by_column_and_greedy_repeats(trained: Trained) -> None:
    command_line, _, result = trained
    adapter = Path(result["run_dir"]) / "adapter"
    arguments = (
        "generate",
        "--base",
        _starter_model(),
        "--adapter",
        adapter,
        "--prompt",
        "What does Mira do?",
        "--max-tokens",
        "12",
        "--greedy",
        "--json",
    )
    first = command_line(*arguments).result["answers"]
    assert [set(answer) for answer in first] == [{"base", "adapter"}]
    assert first[0]["base"] != first[0]["adapter"]
    assert command_line(*arguments).result["answers"] == first


def test_generate_reads_prompts_from_a_file(trained: Trained, tmp_path: Path) -> None:
    command_line, _, _ = trained
    prompts = tmp_path / "prompts.jsonl"
    rows = [
        {"prompt": "What is 4 plus 5?"},
        {"messages": [{"role": "user", "content": "Who has a parrot?"}]},
    ]
    prompts.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    outcome = command_line(
        "generate",
        "--base",
        _starter_model(),
        "--prompts",
        prompts,
        "--max-tokens",
        "4",
        "--greedy",
        "--json",
    )
    assert [set(answer) for answer in outcome.result["answers"]] == [{"base"}, {"base"}]


@pytest.mark.parametrize("target", ["adapter", "merged", "gguf", "gguf-lora", "ollama"])
def test_export_writes_and_verifies(trained: Trained, tmp_path: Path, target: str) -> None:
    command_line, _, result = trained
    out = tmp_path / "out"
    outcome = command_line("export", result["id"], "--to", target, "--out", out, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.result["verified"] is True
    assert outcome.result["files"]
    assert Path(outcome.result["certificate"]["path"]).is_file()
    assert outcome.result["certificate"]["reasons"] == []
    assert all(Path(name).is_file() for name in outcome.result["files"])


def test_doctor_names_a_remedy_for_everything_that_is_not_ok(lora_studio: CommandLine) -> None:
    outcome = lora_studio("doctor", "--json")
    checks = outcome.result["checks"]
    assert {"Python", "Disk", "PyTorch"} <= {check["name"] for check in checks}
    assert all(check["remedy"] for check in checks if check["state"] != "ok")
    assert outcome.code == (1 if any(check["state"] == "failed" for check in checks) else 0)


def _starter_model() -> Path:
    from studio.core.starter import load_starter

    return load_starter().model_folder
