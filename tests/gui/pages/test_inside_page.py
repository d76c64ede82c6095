from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from studio.core.paths import Home
from studio.gui.app import Studio
from studio.gui.pages.inside.page import InsidePage
from studio.gui.plots.heat_map import HeatMap
from studio.gui.widgets.labels import ElidedLabel
from tests.gui.playing import TIMEOUT_MS, Play
from tests.gui.story import tell_finished, write_run

Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def wait(qtbot: QtBot) -> Wait:
    return lambda is_true: qtbot.waitUntil(is_true, timeout=TIMEOUT_MS)


@pytest.fixture
def page(studio: Studio, home: Home, wait: Wait) -> InsidePage:
    page = studio.window.get_page("inside")
    assert isinstance(page, InsidePage)
    assert page._start._words.text() == "Add an adapter first."
    assert not page._empty.isHidden()
    for number, name in enumerate(("pirate", "<b>polite</b>")):
        folder = write_run(home, name, tell_finished(), 1_790_000_000.0 + number)
        studio.window.show_run("inside", folder)
        wait(lambda: len(page._selection.adapters) > number)  # noqa: B023 - waited for at once
    return page


def test_every_square_tells_its_exact_numbers_to_pointer_and_keys(
    page: InsidePage, play: Play, qtbot: QtBot, wait: Wait, tmp_path: Path
) -> None:
    play("inside")
    page._start._start.click()
    wait(lambda: page._look is not None)
    assert page._empty.isHidden()
    heats = page._maps.findChildren(HeatMap)
    assert [heat.accessibleName() for heat in heats] == [
        "Change of the weight, pirate",
        "Change of the weight, <b>polite</b>",
    ]
    heat = heats[0]
    heat.resize(400, 80)
    qtbot.keyClick(heat, Qt.Key.Key_Right)
    qtbot.keyClick(heat, Qt.Key.Key_Right)
    told = heat.accessibleDescription()
    assert told.startswith("Layer 1, self_attn.q_proj\nChange of the weight: 10 %\n")
    labels = [label.text() for label in page._maps.findChildren(ElidedLabel)]
    assert told.replace("\n", " · ") in labels
    heat.clearFocus()
    heat._look_at(heat._find_place(heat._get_area(1, 2).center().toPoint()))
    assert heat.accessibleDescription().startswith("Layer 2, mlp.up_proj\n")
    page._maps.show_measure("effective_rank")
    assert "rank" in page._maps._words.text()
    assert not page._likeness.isHidden()
    assert page._likeness._square._table.describe(0, 1) == (
        "pirate and <b>polite</b>: cosine 0.2500"
    )
    page._result.resize(800, 500)
    for kind in ("inside.png", "inside.csv", "likeness.csv"):
        page.save_file(tmp_path / kind, kind)
        wait((tmp_path / kind).exists)
    assert QImage(str(tmp_path / "inside.png")).width() == 1600
    assert "self_attn.q_proj" in (tmp_path / "inside.csv").read_text(encoding="utf-8")
    assert "-0.5" in (tmp_path / "likeness.csv").read_text(encoding="utf-8")


def test_a_look_that_fails_says_why(page: InsidePage, play: Play, wait: Wait) -> None:
    play("broken-export")
    page._start._start.click()
    wait(lambda: not page._notice.isHidden())
    assert page._notice._message.text() == "No space."
    assert page._start._start.isEnabled()
    assert page._look is None
