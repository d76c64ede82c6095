"""``lora-studio evaluate`` and ``blend`` as a person or a program starts them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from studio.core.paths import Home
from studio.core.results.store import ResultStore
from studio.core.starter import load_starter
from tests.cli.conftest import CommandLine

Trained = tuple[CommandLine, Path, dict[str, Any]]


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    """A few rows of the starter's data."""
    kit = load_starter()
    lines = (kit.folder / kit.get_data_set().train_file).read_text(encoding="utf-8").splitlines()
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines[:6]) + "\n", encoding="utf-8")
    return path


def test_evaluate_measures_base_and_adapter_on_the_same_rows(
    trained: Trained, chats: Path, tmp_path: Path
) -> None:
    command_line, _, result = trained
    arguments = (
        *("evaluate", "--base", load_starter().model_folder, "--adapter", result["id"]),
        *("--data", chats, "--limit", "5", "--max-tokens", "16"),
    )
    rows = tmp_path / "rows-out.jsonl"
    table = tmp_path / "table.md"
    outcome = command_line(*arguments, "--rows", rows, "--out", table, "--json")
    assert outcome.code == 0, outcome.err
    assert "| Loss |" in table.read_text(encoding="utf-8")
    kept = ResultStore(Home(command_line.home)).load(Path(outcome.result["folder"]))
    assert kept.summary.columns == ("base", "adapter")
    assert len(kept.rows) == 5
    results = outcome.result["results"]
    assert set(results) == {"base", "adapter"}
    assert results["adapter"]["loss"]["value"] < results["base"]["loss"]["value"]
    assert results["adapter"]["loss"]["difference"] < 0
    assert results["base"]["exact_match"]["rows"] == 5
    written = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    assert [row["row"] for row in written] == [1, 2, 3, 4, 5]
    assert set(written[0]["answers"]) == {"base", "adapter"}


def test_evaluate_measures_the_rows_that_the_run_held_back(trained: Trained) -> None:
    command_line, _, result = trained
    outcome = command_line(
        *("evaluate", "--base", load_starter().model_folder, "--adapter", result["id"], "--json"),
        *("--run", result["id"], "--metrics", "loss"),
    )
    assert outcome.code == 0, outcome.err
    loss = outcome.result["results"]["adapter"]["loss"]["value"]
    assert loss == pytest.approx(result["validation_loss"], rel=1e-3)


def test_evaluate_prints_a_table_for_people(lora_studio: CommandLine, chats: Path) -> None:
    outcome = lora_studio(
        *("evaluate", "--base", load_starter().model_folder, "--data", chats),
        *("--metrics", "loss", "regex=matey", "--max-tokens", "4", "--limit", "2"),
    )
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["base"]
    assert [line.split()[0] for line in lines[1:]] == ["loss", "regex=matey"]


def test_evaluate_refuses_what_it_does_not_know_in_words(
    lora_studio: CommandLine, chats: Path
) -> None:
    base = load_starter().model_folder
    unknown = lora_studio("evaluate", "--base", base, "--data", chats, "--metrics", "glue")
    assert unknown.code == 1
    assert "glue" in unknown.error_line
    columns = lora_studio("evaluate", "--base", base, "--data", chats, "--columns", "prompt")
    assert columns.code == 2
    assert "PART=NAME" in columns.error_line


def test_generate_takes_strength_and_stop_texts_and_refuses_wrong_values(
    trained: Trained,
) -> None:
    command_line, _, result = trained
    adapter = Path(result["run_dir"]) / "adapter"
    arguments = (
        *("generate", "--base", load_starter().model_folder, "--adapter", adapter, "--json"),
        *("--prompt", "What does Mira do?", "--max-tokens", "12", "--greedy"),
    )
    plain = command_line(*arguments).result["answers"][0]
    off = command_line(*arguments, "--strength", "0").result["answers"][0]
    assert off == {"base": plain["base"], "adapter": plain["base"]}
    stop = plain["adapter"][4:8]
    cut = command_line(*arguments, "--stop", stop).result["answers"][0]
    assert cut["adapter"] == plain["adapter"][: plain["adapter"].index(stop)]
    wrong = command_line(*arguments, "--strength", "2")
    assert wrong.code == 2
    assert "--strength" in wrong.error_line


def test_blend_writes_an_adapter_that_answers(trained: Trained, tmp_path: Path) -> None:
    command_line, _, result = trained
    adapter = Path(result["run_dir"]) / "adapter"
    out = tmp_path / "mix"
    outcome = command_line(
        *("blend", "--adapter", f"{adapter}=0.7", "--adapter", f"{result['id']}=0.3"),
        *("--method", "svd", "--rank", "4", "--out", out, "--json"),
    )
    assert outcome.code == 0, outcome.err
    assert outcome.result["adapter_dir"] == str(out)
    assert outcome.result["rank"] == 4
    assert 0 < outcome.result["error_fraction"] < 1
    answers = command_line(
        *("generate", "--base", load_starter().model_folder, "--adapter", out, "--greedy"),
        *("--prompt", "What does Mira do?", "--max-tokens", "8", "--json"),
    )
    assert set(answers.result["answers"][0]) == {"base", "mix"}
    named = command_line(
        *("blend", "--adapter", adapter, "--layers", "0:mlp=0", "--name", "Less", "--json")
    )
    assert named.code == 0, named.err
    assert Path(named.result["adapter_dir"]).parent == Path(named.result["run_dir"])
    assert "Less" in command_line("runs", "list").out
    again = command_line("blend", "--adapter", adapter, "--out", out)
    assert again.code == 1
    assert "not empty" in again.error_line
    wrong = command_line("blend", "--adapter", f"{adapter}=much", "--out", tmp_path / "other")
    assert wrong.code == 2


def test_the_forgetting_check_says_what_still_works(trained: Trained, tmp_path: Path) -> None:
    command_line, _, result = trained
    outcome = command_line(
        *("forgetting", "--base", load_starter().model_folder, "--adapter", result["id"]),
        *("--area", "tidewick", "--area", "own", "--prompt", "Who is Mira?", "--json"),
        *("--out", tmp_path / "check.md"),
    )
    assert outcome.code == 0, outcome.err
    verdicts = {one["area"]: one for one in outcome.result["verdicts"]}
    assert set(verdicts) == {"own", "tidewick"}
    assert verdicts["tidewick"]["known"] >= 10
    assert verdicts["own"]["divergence"] > 0
    assert Path(outcome.result["file"]).is_file()
    assert "made the base forget" in (tmp_path / "check.md").read_text(encoding="utf-8")
    assert outcome.result["is_broken"] == any(one["state"] == "broken" for one in verdicts.values())


def test_a_look_inside_tells_sizes_directions_and_likeness(
    trained: Trained, tmp_path: Path
) -> None:
    command_line, _, result = trained
    adapter, table = Path(result["run_dir"]) / "adapter", tmp_path / "inside.csv"
    outcome = command_line("inside", adapter, result["id"], "--csv", table, "--json")
    assert outcome.code == 0, outcome.err
    modules, again = outcome.result["adapters"].values()
    assert modules == again
    assert all(0 < one["relative_norm"] < 1 for one in modules)
    assert all(1 <= one["stable_rank"] <= one["effective_rank"] <= 8 for one in modules)
    (pair,) = outcome.result["similarities"]
    assert pair["cosine"] == pytest.approx(1.0)
    assert all(one["cosine"] == pytest.approx(1.0) for one in pair["layers"])
    with table.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == 2 * len(modules)
    assert float(lines[0]["relative_norm"]) == pytest.approx(modules[0]["relative_norm"])
