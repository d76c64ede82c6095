"""Names from outside never become anything but one plain folder name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from studio.core.paths import Home, default_home, slug

WINDOWS_DEVICES = {"CON", "PRN", "AUX", "NUL"} | {
    f"{port}{number}" for port in ("COM", "LPT") for number in range(10)
}


@given(st.text())
@example("..")
@example("../../etc/passwd")
@example("C:\\Windows")
@example("con.txt")
@example("x" * 63 + ".y")
@example("a" * 61 + "...nul")
@example("")
def test_a_slug_is_one_safe_folder_name(name: str) -> None:
    safe = slug(name)
    assert 1 <= len(safe) <= 64
    assert all(char.isascii() and (char.isalnum() or char in "._-") for char in safe)
    assert not safe.startswith(".")
    assert not safe.endswith((".", " "))
    assert safe.split(".")[0].upper() not in WINDOWS_DEVICES
    assert Path("/home/runs", safe).resolve().parent == Path("/home/runs")
    assert slug(safe) == safe


def test_a_slug_reads_like_the_name_it_was_made_from() -> None:
    assert slug("Support tone 2") == "Support-tone-2"
    assert slug("Crème brûlée v1.2") == "Creme-brulee-v1.2"
    assert slug("日本語") == "untitled"
    assert slug("COM1") == "run-COM1"


def test_the_home_can_be_chosen_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LORA_STUDIO_HOME", str(tmp_path))
    home = default_home()
    assert home == Home(tmp_path)
    assert {home.runs, home.jobs, home.settings, home.cache, home.lease} == {
        tmp_path / name for name in ("runs", "jobs", "settings", "cache", "lease.json")
    }
    assert list(tmp_path.iterdir()) == []


def test_without_a_choice_the_home_is_the_platforms_data_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LORA_STUDIO_HOME", raising=False)
    assert default_home().folder.name == "lora-studio"
    assert default_home().folder.is_absolute()
