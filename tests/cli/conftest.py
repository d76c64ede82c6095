"""The command line as a person or a program starts it: a process of its own, a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Outcome:
    """What one command answered."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        """The JSON object on the last line of standard output."""
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return found

    @property
    def error_line(self) -> str:
        """The one line on standard error that tells the failure."""
        lines = [line for line in self.err.splitlines() if line.startswith("Error: ")]
        assert len(lines) == 1, self.err
        return lines[0]


class CommandLine:
    """Starts ``lora-studio`` with a home folder of the test."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *arguments: str | Path, timeout: float = 240) -> Outcome:
        """Run one command to its end; a traceback is never an answer."""
        environment = {**os.environ, "LORA_STUDIO_HOME": str(self.home)}
        child = subprocess.run(
            [sys.executable, "-m", "studio", *map(str, arguments)],
            capture_output=True,
            encoding="utf-8",
            env=environment,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
        assert "Traceback" not in child.stderr, child.stderr
        return Outcome(child.returncode, child.stdout, child.stderr)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[CommandLine, Path, dict[str, Any]]:
    """A short finished run of the starter: the command line, the recipe file, train's result."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = folder / "recipe.yaml"
    write_starter_recipe(recipe)
    command_line = CommandLine(folder / "home")
    outcome = command_line("train", recipe, "--json", "--set", "train.steps=40")
    assert outcome.code == 0, outcome.err
    return command_line, recipe, outcome.result


@pytest.fixture
def lora_studio(tmp_path: Path) -> CommandLine:
    """The command line with an empty home."""
    return CommandLine(tmp_path / "home")


def write_starter_recipe(path: Path, **changes: Any) -> None:
    """Write the recipe of the starter's first data set, with sections replaced by ``changes``."""
    import yaml

    from studio.core.starter import load_starter

    kit = load_starter()
    data_set = kit.get_data_set()
    recipe = {
        "version": 1,
        "name": "short",
        "base": {"model": str(kit.model_folder)},
        "data": {"train": [{"source": str(kit.folder / data_set.train_file)}]},
        **kit.settings,
        **changes,
    }
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
