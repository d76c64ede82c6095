from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QApplication

from studio.core.errors import FileUnusable
from studio.core.resources import resource_folder
from studio.gui.app import Studio
from studio.gui.theme.icons import build_pixmap, find_icon_file
from studio.gui.theme.tokens import DARK, LIGHT, colours_of


def get_strongest(image: QImage) -> QColor:
    pixels = [image.pixelColor(x, y) for x in range(image.width()) for y in range(image.height())]
    return max(pixels, key=lambda colour: colour.alpha())


@pytest.mark.parametrize("choice", ["light", "dark"])
def test_a_choice_changes_window_and_widgets(studio: Studio, choice: str) -> None:
    studio.context.theme.choose(choice)
    wanted = LIGHT if choice == "light" else DARK
    assert studio.context.theme.colours is wanted
    assert colours_of(studio.window) is wanted


def test_an_unknown_choice_means_the_system(studio: Studio) -> None:
    studio.context.theme.choose("purple")
    assert studio.context.theme.choice == "system"


def test_the_theme_tells_listeners(studio: Studio, qtbot: object) -> None:
    told: list[object] = []
    studio.context.theme.changed.connect(told.append)
    studio.context.theme.choose("dark")
    assert told == [DARK]


@pytest.mark.parametrize("path", sorted((resource_folder() / "icons").glob("*.svg")), ids=str)
def test_every_icon_draws_something(qapp: QApplication, path: Path) -> None:
    image = build_pixmap(path.stem, "#ff0000", 24).toImage()
    assert get_strongest(image).alpha() > 150


def test_an_icon_has_the_colour_that_was_asked_for(qapp: QApplication) -> None:
    colour = get_strongest(build_pixmap("stop", "#12ab34", 48).toImage())
    assert (colour.red(), colour.green(), colour.blue()) == (0x12, 0xAB, 0x34)


def test_a_missing_icon_is_named() -> None:
    with pytest.raises(FileUnusable, match="no-such-icon"):
        find_icon_file("no-such-icon")
