"""An export reaches Ollama by one command, and wishes that fit no tool are refused in words."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from studio.cli.export import find_program
from studio.core.errors import RecipeInvalid
from tests.cli.conftest import CommandLine
from tests.core.programs.fake_ollama import serve_ollama
from tests.core.programs.test_ollama import SAMPLE, write_export


def test_an_export_becomes_a_model_in_ollama(lora_studio: CommandLine, tmp_path: Path) -> None:
    folder = write_export(tmp_path / "out")
    with serve_ollama() as ollama:
        ollama.read_tokens = SAMPLE.tokens
        wish = ("hand-over", folder, "--to", "ollama", "--name", "pirate", "--place", ollama.url)
        made = lora_studio(*wish, "--json")
        assert made.code == 0, made.err
        assert (made.result["name"], made.result["verdict"]) == ("pirate:latest", "same")
        assert set(ollama.models) == {"pirate:latest"}
        again = lora_studio(*wish)
    assert again.code == 1
    assert "has a model named pirate:latest already" in again.error_line


@pytest.mark.parametrize(
    ("create", "lm_studio", "target", "words"),
    [
        ("pirate", None, "gguf", "makes a model in Ollama"),
        ("no name", None, "ollama", "is no name"),
        (None, "pirate", "adapter", "whole GGUF files alone"),
    ],
)
def test_a_program_that_takes_no_such_files_is_refused(
    create: str | None, lm_studio: str | None, target: str, words: str
) -> None:
    with pytest.raises(RecipeInvalid, match=words):
        find_program(Namespace(create=create, into_lm_studio=lm_studio), target)
