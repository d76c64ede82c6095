from __future__ import annotations

import json
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from studio.gui.bridge.preferences import Preferences


def test_values_survive(qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "settings" / "preferences.json"
    first = Preferences(path)
    first.keep("theme", "dark")
    first.keep("scale_percent", 150)
    first.keep("model_folders", ["/a", "/b"])
    second = Preferences(path)
    assert second.get_text("theme") == "dark"
    assert second.get_number("scale_percent", 100) == 150
    assert second.get_texts("model_folders") == ["/a", "/b"]


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, '{"theme": 3}'])
def test_a_damaged_file_gives_defaults(qtbot: QtBot, tmp_path: Path, content: str) -> None:
    path = tmp_path / "preferences.json"
    path.write_text(content)
    preferences = Preferences(path)
    assert preferences.get_text("theme", "system") == "system"
    assert preferences.get_number("scale_percent", 100) == 100


def test_a_damaged_file_is_told_and_not_overwritten(qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "preferences.json"
    path.write_text('{"stay_offline": tr')
    preferences = Preferences(path)
    assert preferences.trouble is not None
    assert str(path) in preferences.trouble.message
    preferences.keep("theme", "dark")
    assert path.with_name("preferences.json.damaged").read_text() == '{"stay_offline": tr'
    assert Preferences(path).get_text("theme") == "dark"


def test_a_change_is_told_and_nothing_else(qtbot: QtBot, tmp_path: Path) -> None:
    preferences = Preferences(tmp_path / "preferences.json")
    told: list[str] = []
    preferences.changed.connect(told.append)
    preferences.keep("theme", "dark")
    preferences.keep("theme", "dark")
    assert told == ["theme"]
    assert json.loads((tmp_path / "preferences.json").read_text()) == {"theme": "dark"}
