"""Every page offers the same adapters: finished ones, checkpoints, any folder."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QMenu
from pytestqt.qtbot import QtBot

from studio.gui.bridge.adapter_choice import AdapterChoice, AdapterGroup
from studio.gui.parts.adapter_buttons import AddAdapterButton, BaseButton


def test_the_menu_offers_runs_with_their_checkpoints(qtbot: QtBot) -> None:
    button = AddAdapterButton()
    qtbot.addWidget(button)
    empty = button.build_menu()
    assert empty.actions()[0].text() == "No run has an adapter yet"
    assert not empty.actions()[0].isEnabled()
    final = AdapterChoice("a&b", Path("/r/adapter"), "/m/base-1b")
    step = AdapterChoice("a&b, step 1,000", Path("/r/checkpoints/step-1000"), "/m/base-1b")
    plain = AdapterChoice("p" * 60, Path("/p"), "/m/base-1b")
    button.show_choices([AdapterGroup("/r", final, (step,)), AdapterGroup("/p", plain)])
    menu = button.build_menu()
    texts = [one.text() for one in menu.actions()]
    assert texts[0] == "a&&b   (base-1b)"
    assert texts[1] == f"{'p' * 24}…{'p' * 15}   (base-1b)"
    steps = menu.actions()[0].menu()
    assert isinstance(steps, QMenu)
    names = [one.text() for one in steps.actions()]
    assert names == ["Finished adapter", "Checkpoint at step 1,000"]
    with qtbot.waitSignal(button.adapter_chosen) as chosen:
        steps.actions()[1].trigger()
    assert chosen.args == [step]
    for one in (empty, menu):
        one.deleteLater()


def test_the_base_is_shown_by_its_name(qtbot: QtBot) -> None:
    button = BaseButton()
    qtbot.addWidget(button)
    button.show_base("/models/R&D-1B/model")
    assert button.text() == "R&&D-1B"
    assert button.accessibleName() == "Base: R&D-1B"
    button.show_base("")
    assert button.text() == "Choose a base"
