"""Cards per tool: what is checked before, and what can be done with the files afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtWidgets import QPushButton, QWidget
from pytestqt.qtbot import QtBot

from studio.core.events.types import ExportChecked, ExportFinding
from studio.core.network.gate import Gate
from studio.core.paths import Home
from studio.gui.app import Studio
from studio.gui.bridge.export_history import ExportRecord
from studio.gui.bridge.giving import Surroundings, look_around
from studio.gui.pages.export.findings import get_state, list_open
from studio.gui.pages.export.page import ExportPage
from studio.gui.pages.export.tools import get_tool
from studio.gui.pages.export.upload_dialog import UploadDialog, find_obstacle
from studio.gui.pages.settings.programs import ProgramsCard
from tests.core.programs.fake_ollama import serve_ollama
from tests.gui.fake_export import FINDING
from tests.gui.playing import TIMEOUT_MS, Play
from tests.gui.story import tell_finished, write_run

Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def wait(qtbot: QtBot) -> Wait:
    return lambda is_true: qtbot.waitUntil(is_true, timeout=TIMEOUT_MS)


@pytest.fixture
def page(studio: Studio, home: Home, tmp_path: Path, play: Play, wait: Wait) -> ExportPage:
    """The page with a run that has an adapter and two checkpoints."""
    play("export")
    run = Path(write_run(home, "pirate talk", tell_finished()))
    for folder in ("adapter", "checkpoints/step-5", "checkpoints/step-10"):
        (run / folder).mkdir(parents=True, exist_ok=True)
        (run / folder / "adapter_model.safetensors").write_bytes(bytes(5000))
        (run / folder / "adapter_config.json").write_text(json.dumps({"r": 32}))
    studio.context.preferences.keep("export_folder", str(tmp_path / "out"))
    page = studio.window.get_page("export")
    assert isinstance(page, ExportPage)
    studio.window.show_run("export", str(run))
    wait(lambda: page._presenter.rank == 32 and page._presenter.place is not None)
    return page


def click(widget: QWidget, words: str) -> None:
    """Clicks the visible button with these words."""
    (button,) = [
        one
        for one in widget.findChildren(QPushButton)
        if one.text().startswith(words) and not one.isHidden()
    ]
    button.click()


def export(page: ExportPage, qtbot: QtBot) -> None:
    with qtbot.waitSignal(page._presenter.history_loaded, timeout=TIMEOUT_MS):
        page._place.export.click()


def test_a_finding_is_shown_on_the_card_and_a_button_mends_it(
    page: ExportPage, qtbot: QtBot, wait: Wait
) -> None:
    card = page._tools._cards["vllm"]
    assert card.accessibleDescription() == "Fits as merged model"
    assert page._tools._cards["peft"].accessibleDescription() == "Fits"
    card.chosen.emit()
    click(page._tools, "Shrink to rank 16 (loses 3.4%)")
    assert page._presenter.remedies == ("shrink_rank",)
    (strip,) = [page._tools._findings.itemAt(0).widget()]
    assert "from rank 32 to 16" in strip.accessibleName()
    wait(lambda: page._presenter.place is not None)
    export(page, qtbot)
    order = page._presenter._order
    assert order is not None
    assert (order.target, order.rank) == ("adapter", 16)
    assert "--max-lora-rank 16" in page._result._code.toPlainText()
    click(page._tools, "Take back")
    click(page._tools, "Merge into the model")
    assert page._presenter.tool.key == "vllm"
    assert page._presenter.target == "merged"


def test_a_checkpoint_can_be_exported(page: ExportPage, wait: Wait) -> None:
    steps = page._source._step
    assert [steps.itemText(place) for place in range(3)] == ["As finished", "Step 10", "Step 5"]
    steps.setCurrentIndex(2)
    steps.activated.emit(2)
    wait(lambda: page._presenter.place is not None)
    choice = page._presenter.choice
    assert choice is not None
    assert choice.name == "pirate talk, step 5"
    assert page._presenter.place is not None
    assert page._presenter.place.target.name == "pirate-talk-step-5-adapter"
    assert steps.currentText() == "Step 5"


def show_ollama(page: ExportPage, qtbot: QtBot) -> QWidget:
    """Exports for Ollama beside a server that answers."""
    page._tools._cards["ollama"].chosen.emit()
    qtbot.waitUntil(lambda: page._presenter.place is not None, timeout=TIMEOUT_MS)
    export(page, qtbot)
    give = page._result.give
    qtbot.waitUntil(lambda: bool(give._where.text()), timeout=TIMEOUT_MS)
    give.show_surroundings(Surroundings(ollama="Ollama 1 answers."))
    return give


def test_a_model_is_made_in_ollama_and_its_answer_shown(page: ExportPage, qtbot: QtBot) -> None:
    show_ollama(page, qtbot)
    give = page._result.give
    assert give._name.text() == "pirate-talk"
    give._name.setText("taken")
    with qtbot.waitSignal(page._desk._giver.failed, timeout=TIMEOUT_MS):
        click(give, "Create in Ollama")
    assert give._outcome._message.text() == "Taken."
    with qtbot.waitSignal(page._desk._giver.handed_over, timeout=TIMEOUT_MS):
        click(give, "Replace it")
    assert "Ollama has the model as taken now" in give._outcome._message.text()
    assert "Trained adapter: Ahoy" in give._answers.text()


def test_without_the_programs_the_buttons_are_off_and_say_why(
    page: ExportPage, qtbot: QtBot
) -> None:
    give = page._result.give
    show_ollama(page, qtbot)
    give.show_surroundings(Surroundings(problem="No Ollama server answers. Start Ollama."))
    assert not give._ollama.isEnabled()
    assert not give._lm_studio.isEnabled()
    assert "Start Ollama" in give._where.text()
    assert "LM Studio's folder was not found" in give._where.text()


def test_an_export_goes_to_the_hub_after_a_question(page: ExportPage, qtbot: QtBot) -> None:
    export(page, qtbot)
    qtbot.waitUntil(lambda: not page._result.isHidden(), timeout=TIMEOUT_MS)
    click(page._result, "Upload…")
    qtbot.waitUntil(lambda: page._desk.dialog is not None, timeout=TIMEOUT_MS)
    dialog = page._desk.dialog
    assert dialog is not None
    dialog._obstacle = ""
    dialog.name.setText("no name")
    assert not dialog.upload.isEnabled()
    dialog.name.setText("me/pirate")
    with qtbot.waitSignal(page._desk._giver.pushed, timeout=TIMEOUT_MS):
        dialog.upload.click()
    assert (
        page._result.give._outcome._remedy.text().replace("\u200b", "") == "https://hub/me/pirate"
    )


def test_a_failed_export_is_not_passed_on(page: ExportPage) -> None:
    record = ExportRecord(
        name="x", target="ollama", base="", folder="/x", files=("m.gguf",), is_verified=False
    )
    page._desk.show_record(record)
    assert page._result._upload.isHidden()
    assert page._result.give._ask.isHidden()
    assert page._result._proof.property("role") == "error"


def test_offline_and_without_a_token_the_dialog_says_what_to_do(qtbot: QtBot) -> None:
    assert find_obstacle(Gate(), has_token=True) == ""
    assert "write" in find_obstacle(Gate(), has_token=False)
    dialog = UploadDialog(Gate("option"), has_token=True, files=2, size_bytes=10)
    qtbot.addWidget(dialog)
    dialog.name.setText("me/pirate")
    assert not dialog.upload.isEnabled()
    assert "--offline" in dialog._state.text()


def test_the_best_form_of_a_tool_decides_its_state() -> None:
    fatal = ExportFinding.model_validate(FINDING | {"is_fatal": True})
    vllm, peft = get_tool("vllm"), get_tool("peft")
    checked = ExportChecked(rank=32, findings=(fatal,))
    assert get_state(checked, vllm, is_checking=False).words == "Fits as merged model"
    both = (fatal, fatal.model_copy(update={"target": "merged"}))
    worst = ExportChecked(rank=32, findings=both)
    assert get_state(worst, vllm, is_checking=False).words == "Needs a change"
    assert get_state(None, peft, is_checking=True).words == "Checking…"
    assert list_open(worst, vllm, "adapter", ("shrink_rank",)) == []
    assert list_open(worst, vllm, "adapter", ()) == [fatal]


def test_what_is_there_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serve_ollama() as server:
        around = look_around(Gate("option"), server.url, str(tmp_path))
    assert around == Surroundings(f"Ollama 0.34.1 answers at {server.url}.", "", tmp_path)
    gone = look_around(Gate("option"), server.url, str(tmp_path / "gone"))
    assert "No Ollama server answers" in gone.problem
    assert gone.models is None


def test_an_address_that_is_none_is_not_kept(qtbot: QtBot) -> None:
    card = ProgramsCard()
    qtbot.addWidget(card)
    with qtbot.assertNotEmitted(card.address_entered):
        card._address.setText("http://")
        card._address.editingFinished.emit()
    assert "no address" in card._address_words.text()
    with qtbot.waitSignal(card.address_entered, check_params_cb=lambda text: text == "box:1"):
        card._address.setText("box:1")
        card._address.editingFinished.emit()
    card.show_places("", "/gone", None)
    assert card._folder.text() == "/gone is not there"
