"""A GGUF file is found by LM Studio where it was put, and nothing of LM Studio's is overwritten."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from studio.core.errors import FileUnusable
from studio.core.events.types import HandedOver
from studio.core.network.fetch import FetchCancelled
from studio.core.programs.lm_studio import find_models_folder, get_models_folders, put
from studio.core.programs.words import describe_hand_over


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pirate-Q8_0.gguf"
    path.write_bytes(b"GGUF" * 1000)
    return path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def run_out(file: Path, models: Path) -> tuple[Path, bool]:
    steps = put(file, models, "Pirate talk")
    while True:
        try:
            next(steps)
        except StopIteration as end:
            place, is_link = end.value
            return place, is_link


def test_on_one_drive_the_file_is_shared(file: Path, models: Path) -> None:
    place, is_link = run_out(file, models)
    assert place == models / "lora-studio" / "Pirate-talk" / "pirate-Q8_0.gguf"
    assert is_link
    assert place.samefile(file)
    assert run_out(file, models) == (place, True)


def test_without_links_it_is_copied(
    file: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuse_link)
    place, is_link = run_out(file, models)
    assert not is_link
    assert not place.samefile(file)
    assert place.read_bytes() == file.read_bytes()
    assert [path.name for path in place.parent.iterdir()] == [file.name]


def refuse_link(*_: object) -> None:
    raise OSError(18, "Invalid cross-device link")


def test_another_file_of_that_name_stays(file: Path, models: Path) -> None:
    place = models / "lora-studio" / "Pirate-talk" / file.name
    place.parent.mkdir(parents=True)
    place.write_bytes(b"older")
    with pytest.raises(FileUnusable, match="another file") as caught:
        run_out(file, models)
    assert caught.value.code == "name_taken"
    assert place.read_bytes() == b"older"


def test_a_cancelled_copy_leaves_nothing(
    file: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuse_link)
    with pytest.raises(FetchCancelled):
        list(put(file, models, "x", is_cancelled=lambda: True))
    assert list((models / "lora-studio").iterdir()) == []


def test_its_folder_is_found_as_lm_studio_says(tmp_path: Path) -> None:
    assert find_models_folder("", tmp_path) is None
    old = tmp_path / ".cache" / "lm-studio" / "models"
    old.mkdir(parents=True)
    assert find_models_folder("", tmp_path) == old
    moved = tmp_path / "elsewhere"
    (moved / "models").mkdir(parents=True)
    (tmp_path / ".lmstudio-home-pointer").write_text(f"{moved}\n")
    assert find_models_folder("", tmp_path) == moved / "models"
    big = tmp_path / "big drive"
    big.mkdir()
    (moved / "settings.json").write_text(json.dumps({"downloadsFolder": str(big)}))
    assert find_models_folder("", tmp_path) == big
    assert get_models_folders(tmp_path)[0] == big
    assert find_models_folder(str(old), tmp_path) == old
    assert find_models_folder(str(tmp_path / "gone"), tmp_path) is None


def test_damaged_settings_count_as_none(tmp_path: Path) -> None:
    (tmp_path / ".lmstudio").mkdir()
    for text in ("{", "[]", '{"downloadsFolder": 3}'):
        (tmp_path / ".lmstudio" / "settings.json").write_text(text)
        assert get_models_folders(tmp_path)[0] == tmp_path / ".lmstudio" / "models"


@pytest.mark.parametrize(
    ("answer", "read", "verdict"),
    [
        ("Ahoy there friend", 12, "same"),
        ("Ahoy there", 13, "same"),
        ("Ahoy you", 12, "similar"),
        ("Hello", 12, "different"),
        ("Ahoy there", 30, "different"),
    ],
)
def test_one_answer_is_judged_by_its_words(answer: str, read: int, verdict: str) -> None:
    event = HandedOver(
        program="ollama",
        name="pirate",
        place="",
        question="Hello?",
        expected="Ahoy there",
        answer=answer,
        expected_tokens=12,
        read_tokens=read,
    )
    assert describe_hand_over(event).verdict == verdict
