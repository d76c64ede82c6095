"""What an adapter is merged onto and how its experts are written: offered only where it matters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from studio.core.events.types import ExportChecked, ExportFinding
from studio.core.jobs.orders import ExportOrder
from studio.core.paths import Home
from studio.gui.app import Studio
from studio.gui.bridge.export_history import ExportHistory, ExportRecord
from studio.gui.pages.export.findings import get_state, list_open
from studio.gui.pages.export.option_row import OptionRow
from studio.gui.pages.export.options import Options, list_bases, list_layouts
from studio.gui.pages.export.page import ExportPage
from studio.gui.pages.export.tools import get_tool
from tests.gui.playing import TIMEOUT_MS, Play
from tests.gui.story import tell_finished, write_run

Wait = Callable[[Callable[[], bool]], None]
LOFTQ = ExportFinding(
    tool="vllm",
    target="merged",
    code="loftq",
    message="This adapter was started with LoftQ.",
    advice="Merge it onto the weights as they were in training instead.",
    remedies=("merge_dequantised",),
    is_general=True,
)
CHECKED = ExportChecked(
    rank=8, quantisation="nf4", layouts=("stacked", "single"), findings=(LOFTQ,)
)


@pytest.fixture
def wait(qtbot: QtBot) -> Wait:
    return lambda is_true: qtbot.waitUntil(is_true, timeout=TIMEOUT_MS)


@pytest.fixture
def page(studio: Studio, home: Home, tmp_path: Path, play: Play, wait: Wait) -> ExportPage:
    """The page with two runs that have adapters; the first one is chosen."""
    play("export")
    for name in ("other talk", "pirate talk"):
        run = Path(write_run(home, name, tell_finished()))
        (run / "adapter").mkdir()
        (run / "adapter" / "adapter_model.safetensors").write_bytes(bytes(5000))
        (run / "adapter" / "adapter_config.json").write_text(json.dumps({"r": 32}))
    studio.context.preferences.keep("export_folder", str(tmp_path / "out"))
    page = studio.window.get_page("export")
    assert isinstance(page, ExportPage)
    studio.window.show_run("export", str(run))
    wait(lambda: page._presenter.rank == 32 and page._presenter.place is not None)
    return page


def show_checked(page: ExportPage, checked: ExportChecked = CHECKED) -> None:
    """Lets the check of the adapter say something else."""
    page._checks._check.checked = checked
    page._checks._check.changed.emit()


def press(row: OptionRow, words: str) -> None:
    (button,) = [one for one in row.findChildren(QPushButton) if one.text() == words]
    button.click()


def export(page: ExportPage, qtbot: QtBot) -> ExportOrder:
    """Exports and returns the order."""
    qtbot.waitUntil(lambda: page._presenter.place is not None, timeout=TIMEOUT_MS)
    with qtbot.waitSignal(page._presenter.history_loaded, timeout=TIMEOUT_MS):
        page._place.export.click()
    assert page._presenter._order is not None
    return page._presenter._order


def test_nothing_is_asked_about_an_adapter_of_a_plain_model(page: ExportPage) -> None:
    for key in ("peft", "merged", "llama_cpp"):
        page._tools._cards[key].chosen.emit()
        assert page._tools._onto.isHidden()
        assert page._tools._experts.isHidden()


def test_each_question_is_asked_for_the_files_that_it_matters_to(page: ExportPage) -> None:
    show_checked(page)
    asked = {}
    for key in ("peft", "merged", "llama_cpp", "ollama", "capsule"):
        page._tools._cards[key].chosen.emit()
        asked[key] = (not page._tools._onto.isHidden(), not page._tools._experts.isHidden())
    assert asked == {
        "peft": (False, True),
        "merged": (True, False),
        "llama_cpp": (True, False),
        "ollama": (True, False),
        "capsule": (False, False),
    }
    page._tools._cards["merged"].chosen.emit()
    assert "Wrong for this adapter" in page._tools._onto._help.text()
    show_checked(page, CHECKED.model_copy(update={"findings": ()}))
    assert "trained over a base held in 4 bits (NF4)" in page._tools._onto._help.text()


def test_layouts_that_the_base_does_not_have_are_not_offered() -> None:
    checked = CHECKED.model_copy(update={"layouts": ("stacked",)})
    assert [one.value for one in list_layouts("adapter", checked)] == ["kept", "stacked"]
    assert list_layouts("merged", CHECKED) == ()
    assert list_bases("adapter", CHECKED) == ()
    assert list_bases("merged", None) == ()


def test_what_does_not_apply_is_exported_as_usual() -> None:
    chosen = Options().change("onto", "dequantised").change("experts", "single")
    assert chosen.change("onto", "elsewhere") == chosen.change("colour", "red") == chosen
    assert (chosen.fit("merged", CHECKED).onto, chosen.fit("merged", CHECKED).experts) == (
        "dequantised", "kept"
    )  # fmt: skip
    assert chosen.fit("adapter", None) == Options(experts="single")
    assert chosen.fit("adapter", ExportChecked(rank=8)) == Options()


def test_a_choice_is_ordered_told_and_remembered_for_this_adapter(
    page: ExportPage, qtbot: QtBot, home: Home, wait: Wait
) -> None:
    page._tools._cards["merged"].chosen.emit()
    show_checked(page)
    press(page._tools._onto, "As in training")
    assert "rounded numbers" in page._tools._onto._help.text()
    assert export(page, qtbot).onto == "dequantised"
    assert "numbers that the base had in training" in page._result._proof.text()
    page._tools._cards["peft"].chosen.emit()
    press(page._tools._experts, "One by one")
    order = export(page, qtbot)
    assert (order.experts, order.onto) == ("single", "original")
    assert "experts are written one by one" in page._result._proof.text()
    kept = ExportHistory(home.settings / "exports.json").load()
    assert [(one.onto, one.experts) for one in kept] == [
        ("original", "single"), ("dequantised", "kept")
    ]  # fmt: skip
    pirate = page._presenter.choice
    other = next(one.final for one in page._sources._groups if one.final.name == "other talk")
    page._presenter.choose(other)
    assert page._presenter.options == Options()
    page._presenter.choose(pirate)
    assert page._presenter.options == Options(onto="dequantised", experts="single")


def test_a_warning_about_loftq_is_settled_by_its_button(page: ExportPage, qtbot: QtBot) -> None:
    page._tools._cards["merged"].chosen.emit()
    show_checked(page)
    assert page._tools._cards["merged"].accessibleDescription() == "Needs a change"
    qtbot.waitUntil(lambda: page._presenter.place is not None, timeout=TIMEOUT_MS)
    page._place.export.click()
    assert not page._presenter.is_busy
    words = page._place._words
    assert words.text() == "These files would not work. Choose a change in step 2 first."
    (button,) = [
        one
        for one in page._tools.findChildren(QPushButton)
        if one.text() == "Merge onto the weights of the training" and not one.isHidden()
    ]
    button.click()
    assert page._presenter.options.onto == "dequantised"
    assert page._tools._findings.count() == 0
    qtbot.waitUntil(words.isHidden, timeout=TIMEOUT_MS)
    assert export(page, qtbot).onto == "dequantised"


def test_what_holds_in_every_tool_is_said_once() -> None:
    twice = CHECKED.model_copy(
        update={"findings": (LOFTQ, LOFTQ.model_copy(update={"tool": "peft"}))}
    )
    assert list_open(twice, get_tool("hub"), "merged") == [LOFTQ]
    assert get_state(twice, get_tool("hub"), is_checking=False).words == ""
    assert get_state(twice, get_tool("merged"), is_checking=False).words == "Needs a change"


@pytest.mark.parametrize("target", ["adapter", "merged", "gguf", "gguf_lora", "ollama", "capsule"])
def test_a_failed_export_shows_what_to_do_and_no_command(page: ExportPage, target: str) -> None:
    failed = ExportRecord.model_validate(
        {"name": "x", "target": target, "base": "", "folder": "/out/x", "files": ["m.gguf"],
         "is_verified": False, "reasons": ["one tensor is off"]}
    )  # fmt: skip
    result = page._result
    result.show_record(failed)
    assert result._code.isHidden()
    assert result._copy.isHidden()
    assert not result._code.toPlainText()
    assert result._use.text() == "What to do instead"
    assert result._ways.text().startswith("1. Export again")
    assert "Delete the folder /out/x" in result._ways.text().replace("\u200b", "")
    result.show_record(failed.model_copy(update={"is_verified": True}))
    assert result._ways.isHidden()
    assert result._code.toPlainText()
    assert not result._copy.isHidden()


def test_experts_one_by_one_need_no_newer_peft(page: ExportPage) -> None:
    note = ExportFinding(
        tool="peft", target="adapter", code="peft_experts", message="PEFT before 0.17",
        advice="", is_fatal=False,
    )  # fmt: skip
    show_checked(page, CHECKED.model_copy(update={"findings": (note,)}))
    assert page._tools._findings.count() == 1
    press(page._tools._experts, "One by one")
    assert page._tools._findings.count() == 0


def test_what_was_wrong_with_one_adapter_is_not_said_of_the_next(page: ExportPage) -> None:
    page._notice.show_message("error", "The model is not on this machine.")
    other = next(one.final for one in page._sources._groups if one.final.name == "other talk")
    page._source.chosen.emit(other)
    assert page._notice.isHidden()
