"""``lora-studio rows`` as a person or a program starts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studio.core.recipe.load import load_recipe
from studio.core.starter import load_starter
from tests.cli.conftest import CommandLine

Trained = tuple[CommandLine, Path, dict[str, Any]]


def test_the_worst_rows_come_with_their_text_and_can_be_left_out(
    trained: Trained, tmp_path: Path
) -> None:
    command_line, _, result = trained
    table, recipe = tmp_path / "rows.csv", tmp_path / "next.yaml"
    outcome = command_line(
        *("rows", result["id"], "--worst", "3", "--csv", table, "--without", recipe, "--go-on"),
        "--json",
    )
    assert outcome.code == 0, outcome.err
    rows = outcome.result["rows"]
    assert len(rows) == 3
    last = [row["losses"][-1] for row in rows]
    assert last == sorted(last, reverse=True)
    kit = load_starter()
    lines = (kit.folder / kit.get_data_set().train_file).read_text(encoding="utf-8").splitlines()
    for row in rows:
        assert row["answer"] in lines[row["row"] - 1]
        assert not row["is_changed"]
    assert len(table.read_text(encoding="utf-8").splitlines()) == 1 + outcome.result["trained_rows"]
    following = load_recipe(recipe)
    assert set(following.data.exclude) == {row["mark"] for row in rows}
    assert following.adapter.resume_from


def test_wrong_numbers_and_unknown_runs_are_refused(trained: Trained) -> None:
    command_line, _, result = trained
    assert command_line("rows", result["id"], "--suspects", "0").code == 2
    assert command_line("rows", "no such run").code == 1
    outcome = command_line("rows", result["id"], "--forgotten", "--no-text", "--json")
    assert outcome.code == 0
    assert outcome.result["list"] == "forgotten"
