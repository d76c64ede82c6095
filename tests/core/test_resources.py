"""The program finds its own files in a checkout, in an installation, and where it is told to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import studio
from studio.core.errors import FileUnusable
from studio.core.resources import RESOURCES_VARIABLE, resource_folder


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation without a checkout around it, and without resources yet."""
    monkeypatch.delenv(RESOURCES_VARIABLE, raising=False)
    monkeypatch.setattr(studio, "__file__", str(tmp_path / "site-packages/studio/__init__.py"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    return tmp_path


def test_a_checkout_brings_its_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RESOURCES_VARIABLE, raising=False)
    assert resource_folder() == Path(__file__).resolve().parents[2] / "resources"


def test_an_installation_finds_them_beside_python_or_where_it_is_told(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = installed / "prefix/share/lora-studio/resources"
    (shared / "icons").mkdir(parents=True)
    assert resource_folder() == shared
    (installed / "mine/icons").mkdir(parents=True)
    monkeypatch.setenv(RESOURCES_VARIABLE, str(installed / "mine"))
    assert resource_folder() == installed / "mine"


def test_an_incomplete_installation_is_told_in_words(installed: Path) -> None:
    with pytest.raises(FileUnusable, match="own files") as caught:
        resource_folder()
    assert RESOURCES_VARIABLE in caught.value.remedy
