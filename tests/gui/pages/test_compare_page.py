from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.core.paths import Home
from studio.gui.app import Studio
from studio.gui.pages.compare.page import ComparePage
from tests.gui.playing import TIMEOUT_MS, Play
from tests.gui.story import tell_finished, write_run

Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def wait(qtbot: QtBot) -> Wait:
    return lambda is_true: qtbot.waitUntil(is_true, timeout=TIMEOUT_MS)


@pytest.fixture
def page(studio: Studio) -> ComparePage:
    page = studio.window.get_page("compare")
    assert isinstance(page, ComparePage)
    return page


@pytest.fixture
def folder(home: Home) -> str:
    return write_run(home, "pirate", tell_finished())


def make_adapter(folder: Path, base: str) -> Path:
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "base_model_name_or_path": base}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "adapter_model.safetensors").write_bytes(b"")
    return folder


def open_chat(studio: Studio, page: ComparePage, folder: str, wait: Wait) -> None:
    studio.window.show_run("compare", folder)
    wait(lambda: page._presenter._is_ready)


def type_prompt(page: ComparePage, qtbot: QtBot, text: str) -> None:
    edit = page._chat.prompt._edit
    edit.setPlainText(text)
    qtbot.keyClick(edit, Qt.Key.Key_Return)


def end_chat(studio: Studio, page: ComparePage, wait: Wait) -> None:
    job = page._presenter._job
    if job is not None:
        job.stop()
        wait(lambda: job.is_over)


def test_without_adapters_the_page_says_what_to_add(page: ComparePage) -> None:
    assert page._stack.currentWidget() is page._empty


def test_a_run_brings_its_base_along_and_both_answer(
    studio: Studio, page: ComparePage, folder: str, play: Play, qtbot: QtBot, wait: Wait
) -> None:
    play("chat")
    open_chat(studio, page, folder, wait)
    assert Path(page._presenter.base).name == "Qwen3-0.6B"
    type_prompt(page, qtbot, "Hello")
    wait(lambda: not page._presenter.is_busy)
    base, adapter = page._chat._list.get_cards(1)
    assert base.text == "base says <b>Hello</b>"
    assert adapter.text == "pirate says <b>Hello</b>"
    assert base._answer.text == base.text
    assert "30 tokens/s" in base._facts.text()
    assert page._chat.prompt._edit.toPlainText() == ""
    end_chat(studio, page, wait)


def test_shift_enter_starts_a_new_line(page: ComparePage, qtbot: QtBot) -> None:
    edit = page._chat.prompt._edit
    edit.setPlainText("one")
    with qtbot.assertNotEmitted(page._chat.sent):
        qtbot.keyClick(edit, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    assert edit.document().blockCount() == 2 or "\u2028" in edit.document().toRawText()


def test_a_prompt_sent_while_the_models_load_is_answered_later(
    studio: Studio, page: ComparePage, folder: str, play: Play, qtbot: QtBot, wait: Wait
) -> None:
    play("chat")
    studio.window.show_run("compare", folder)
    wait(lambda: page._presenter.has_selection)
    type_prompt(page, qtbot, "Early")
    assert page._presenter.is_busy
    wait(lambda: not page._presenter.is_busy)
    assert page._chat._list.get_cards(1)[0].text == "base says <b>Early</b>"
    end_chat(studio, page, wait)


def test_stop_ends_the_answers(
    studio: Studio, page: ComparePage, folder: str, play: Play, qtbot: QtBot, wait: Wait
) -> None:
    play("chat")
    open_chat(studio, page, folder, wait)
    type_prompt(page, qtbot, "slowly please")
    assert page._chat.prompt._send.text() == "Stop"
    wait(lambda: page._chat._list.get_cards(1)[0]._answer.text == "Writing …")
    page._chat.prompt._send.click()
    wait(lambda: not page._presenter.is_busy)
    assert page._chat.prompt._send.text() == "Send"
    end_chat(studio, page, wait)


def test_an_adapter_of_another_base_is_refused_in_words(
    studio: Studio, page: ComparePage, folder: str, play: Play, tmp_path: Path, wait: Wait
) -> None:
    play("chat")
    open_chat(studio, page, folder, wait)
    page.add_folder(make_adapter(tmp_path / "sql", "meta/Llama-3.2-1B"))
    wait(lambda: not page._notice.isHidden())
    assert "was trained on Llama-3.2-1B" in page._notice._message.text()
    assert list(page._presenter.adapters) == ["pirate"]
    end_chat(studio, page, wait)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), "adapter_config.json is missing"),
        (("adapter_config.json", "adapter_model.bin"), "no safetensors weights"),
    ],
)
def test_a_folder_without_a_safe_adapter_is_refused(
    page: ComparePage, tmp_path: Path, wait: Wait, names: tuple[str, ...], words: str
) -> None:
    for name in names:
        (tmp_path / name).write_text("{}", encoding="utf-8")
    page.add_folder(tmp_path)
    wait(lambda: not page._notice.isHidden())
    assert words in page._notice._message.text().replace("\u200b", "")
    assert page._notice._remedy.text()


def test_models_that_cannot_be_loaded_show_the_remedy_and_can_be_tried_again(
    studio: Studio, page: ComparePage, folder: str, play: Play, wait: Wait
) -> None:
    play("broken-chat")
    studio.window.show_run("compare", folder)
    wait(lambda: not page._notice.isHidden())
    assert page._notice._message.text() == "No weights."
    play("chat")
    page._notice.action_requested.emit()
    wait(lambda: page._presenter._is_ready)
    assert page._notice.isHidden()
    end_chat(studio, page, wait)


def test_options_become_the_settings_of_the_question(page: ComparePage) -> None:
    panel = page._chat.prompt.options
    assert panel.options.temperature == 0
    panel._choice.chosen.emit("sampled")
    panel._temperature.setValue(1.2)
    panel._seed.setValue(7)
    panel._mode.chosen.emit("raw")
    options = panel.options
    assert (options.temperature, options.seed, options.is_raw) == (1.2, 7, True)
    assert "temperature 1.2, seed 7" in page._chat.prompt._words.text()
