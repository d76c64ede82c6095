from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.gui.bridge.adapter_choice import AdapterChoice, AdapterGroup
from studio.gui.pages.export.source_card import SourceCard
from studio.gui.widgets.elided_choice import ElidedChoice


def test_a_choice_too_long_for_its_box_ends_in_an_ellipsis(qtbot: QtBot) -> None:
    box = ElidedChoice()
    qtbot.addWidget(box)
    box.addItem("A name that is much longer than a box of this width can show")
    box.resize(160, 32)
    shown = box.get_shown_text()
    assert shown.startswith("A name")
    assert shown.endswith("…")
    assert box.fontMetrics().horizontalAdvance(shown) < 160
    box.grab()
    box.resize(900, 32)
    assert box.get_shown_text() == box.currentText()


def test_a_shortened_adapter_tells_its_whole_name_on_hover(qtbot: QtBot) -> None:
    card = SourceCard()
    qtbot.addWidget(card)
    name = "long " * 20
    choice = AdapterChoice(name, Path("adapter"), "base")
    card.show_choices([AdapterGroup("run", choice)], choice)
    assert name.strip() in card._box.toolTip()
    assert name.strip() in card._box.itemData(0, Qt.ItemDataRole.ToolTipRole)
