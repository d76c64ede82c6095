"""The Compare page over a chat job that is played: columns, answers, strength, regenerating."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from studio.core.jobs.orders import ChatOrder
from studio.core.paths import Home
from studio.core.runs.layout import RunLayout
from studio.core.weights.quantisable import BASE_FORMS
from studio.gui.app import Studio
from studio.gui.bridge.adapter_choice import AdapterChoice
from studio.gui.bridge.live_job import LiveJob
from studio.gui.pages.compare.answer_card import AnswerCard
from studio.gui.pages.compare.column_strip import LEAST_WIDTH
from studio.gui.pages.compare.page import ComparePage
from studio.gui.widgets.drop_area import DropCatcher
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
    wait(lambda: page._link.is_ready)


def type_prompt(page: ComparePage, qtbot: QtBot, text: str) -> None:
    edit = page._chat.prompt._edit
    edit.setPlainText(text)
    qtbot.keyClick(edit, Qt.Key.Key_Return)


def get_cards(page: ComparePage, number: int = 0) -> list[AnswerCard]:
    view = page._chat.list.find_view(number)
    assert view is not None
    return view.shown_cards


def read_order(job: LiveJob) -> ChatOrder:
    layout = RunLayout(Path(job.record.folder))
    return ChatOrder.model_validate_json(layout.job.read_bytes())


def end_chat(page: ComparePage, wait: Wait) -> None:
    job = page._link.job
    if job is not None:
        job.stop()
        wait(lambda: job.is_over)


def test_without_adapters_the_page_says_what_to_add(
    studio: Studio, page: ComparePage, home: Home, qtbot: QtBot, wait: Wait
) -> None:
    assert page._stack.currentWidget() is page._empty
    with qtbot.waitSignal(page.page_requested) as wish:
        page._empty._action.click()
    assert wish.args == ["train"]
    make_adapter(Path(write_run(home, "pirate", tell_finished())) / "adapter", "Qwen")
    page.refresh()
    wait(lambda: page._empty._action.text() == "Add an adapter")
    opened: list[str] = []
    page._chooser.add.clicked.disconnect()
    page._chooser.add.clicked.connect(lambda: opened.append("menu"))
    page._empty._action.click()
    assert opened == ["menu"]


def test_a_run_brings_its_base_along_and_both_answer(
    studio: Studio, page: ComparePage, folder: str, play: Play, qtbot: QtBot, wait: Wait
) -> None:
    play("chat")
    open_chat(studio, page, folder, wait)
    assert Path(page._line_up.base).name == "Qwen3-0.6B"
    type_prompt(page, qtbot, "Hello")
    wait(lambda: not page._talk.is_busy)
    base, adapter = get_cards(page)
    assert base.text == "base says <b>Hello</b>"
    assert adapter.text == "pirate says <b>Hello</b>"
    assert base._answer.text == base.text
    assert "30 tokens/s" in base.facts
    assert page._chat.prompt.text == ""
    wait(lambda: adapter._answer.extraSelections() != [])
    (mark,) = adapter._answer.extraSelections()
    assert mark.cursor.selectedText() == "pirate"
    assert base._answer.extraSelections() == []
    page._chooser._marks.click()
    assert adapter._answer.extraSelections() == []
    adapter._copy.click()
    assert QGuiApplication.clipboard().text() == adapter.text
    end_chat(page, wait)


def test_shift_enter_starts_a_new_line(page: ComparePage, qtbot: QtBot) -> None:
    edit = page._chat.prompt._edit
    edit.setPlainText("one")
    with qtbot.assertNotEmitted(page._chat.prompt.sent):
        qtbot.keyClick(edit, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    assert edit.document().blockCount() == 2 or "\u2028" in edit.document().toRawText()


def test_a_prompt_sent_while_the_models_load_is_answered_later(
    studio: Studio, page: ComparePage, folder: str, play: Play, qtbot: QtBot, wait: Wait
) -> None:
    play("chat")
    studio.window.show_run("compare", folder)
    wait(lambda: bool(page._line_up.base))
    type_prompt(page, qtbot, "Early")
    assert page._talk.is_busy
    wait(lambda: not page._talk.is_busy)
    assert get_cards(page)[0].text == "base says <b>Early</b>"
    end_chat(page, wait)


def test_stop_ends_the_answers_and_the_prompts_that_wait(
    studio: Studio, page: ComparePage, folder: str, play: Play, qtbot: QtBot, wait: Wait
) -> None:
    play("chat")
    open_chat(studio, page, folder, wait)
    type_prompt(page, qtbot, "slowly please")
    page.ask([page._talk.exchanges[0].asked] * 2)
    assert page._chat.prompt._waiting.text() == "2 more to come"
    assert page._chat.prompt._send.text() == "Stop"
    wait(lambda: get_cards(page)[0]._answer.text == "Writing …")
    page._chat.prompt._send.click()
    wait(lambda: not page._talk.is_busy)
    assert page._chat.prompt._send.text() == "Send"
    assert len(page._talk.exchanges) == 1
    assert get_cards(page)[0]._answer.text == "Stopped."
    end_chat(page, wait)


def test_adapters_come_and_go_over_the_same_base(
    studio: Studio, page: ComparePage, folder: str, play: Play, tmp_path: Path, wait: Wait
) -> None:
    """A column that came later can be asked what the others were asked."""
    play("chat")
    open_chat(studio, page, folder, wait)
    job = page._link.job
    page._chat.prompt.sent.emit("First")
    wait(lambda: not page._talk.is_busy)
    page._shelf.pick_folder(make_adapter(tmp_path / "late", page._line_up.base))
    wait(lambda: page._line_up.find("late") is not None and page._link.is_ready)
    assert page._link.job is job
    late = get_cards(page)[2]
    assert "Not asked yet" in late._answer.text
    late._again.click()
    wait(lambda: late.text == "late says <b>First</b>")
    page._chat.strip.heads[1].removed.emit()
    assert [card._column for card in get_cards(page)] == ["base", "late"]
    page._chat.prompt.sent.emit("Second")
    wait(lambda: len(page._talk.exchanges) == 2 and not page._talk.is_busy)
    assert [card.text.split()[0] for card in get_cards(page, 1)] == ["base", "late"]
    assert page._link.job is job
    end_chat(page, wait)


def test_adapters_of_other_bases_are_refused_in_words(
    studio: Studio, page: ComparePage, folder: str, play: Play, tmp_path: Path, wait: Wait
) -> None:
    """By the name they give, and by what the engine finds in their files."""
    play("chat")
    open_chat(studio, page, folder, wait)
    page._shelf.pick_folder(make_adapter(tmp_path / "sql", "meta/Llama-3.2-1B"))
    wait(lambda: not page._notice.isHidden())
    assert "was trained on Llama-3.2-1B" in page._notice._message.text()
    page._notice.clear()
    page._shelf.pick_folder(make_adapter(tmp_path / "foreign", page._line_up.base))
    wait(lambda: not page._notice.isHidden())
    assert "made for another model" in page._notice._message.text()
    assert page._line_up.adapters == ("pirate",)
    for number in range(8):
        page._line_up.add(AdapterChoice(f"n{number}", tmp_path / str(number), ""))
    assert len(page._line_up.columns) == 9
    assert "8 adapters" in page._notice._message.text()
    wait(lambda: page._link.is_ready)
    end_chat(page, wait)


def test_a_folder_that_is_dropped_on_the_page_is_added(
    studio: Studio, page: ComparePage, folder: str, play: Play, tmp_path: Path, wait: Wait
) -> None:
    play("chat")
    open_chat(studio, page, folder, wait)
    dropped = make_adapter(tmp_path / "dropped", page._line_up.base)
    job = page._link.job
    (catcher,) = page.findChildren(DropCatcher)
    catcher.paths_dropped.emit([str(dropped), str(tmp_path / "nothing")])
    wait(lambda: page._line_up.find("dropped") is not None and not page._notice.isHidden())
    page._line_up.choose_base(page._line_up.base)
    assert page._link.job is job
    wait(lambda: page._link.is_ready)
    page._chat.prompt.sent.emit("Hello")
    assert page._notice.isHidden()
    wait(lambda: not page._talk.is_busy)
    end_chat(page, wait)


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
    page._shelf.pick_folder(tmp_path)
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
    wait(lambda: page._link.is_ready)
    assert page._notice.isHidden()
    end_chat(page, wait)


def test_another_strength_answers_the_last_prompt_again_in_that_column(
    studio: Studio, page: ComparePage, folder: str, play: Play, wait: Wait
) -> None:
    play("chat")
    open_chat(studio, page, folder, wait)
    page._chat.prompt.sent.emit("Hello")
    wait(lambda: not page._talk.is_busy)
    head = page._chat.strip.heads[1]
    head._slider.setValue(50)
    assert head._percent.text() == "50 %"
    wait(lambda: "at 50%" in get_cards(page)[1].text)
    assert get_cards(page)[1]._name.text() == "pirate at 50 %"
    assert get_cards(page)[0].text == "base says <b>Hello</b>"
    assert page._talk.exchanges[0].keep().answers[1].strength == 0.5
    end_chat(page, wait)


def test_answers_can_be_asked_for_again_with_the_next_seed(
    studio: Studio, page: ComparePage, folder: str, play: Play, wait: Wait
) -> None:
    play("chat")
    open_chat(studio, page, folder, wait)
    page._side.settings._chance.chosen.emit("draw")
    page._side.settings._seed.setValue(7)
    page._chat.prompt.sent.emit("Hello")
    wait(lambda: not page._talk.is_busy)
    get_cards(page)[1]._again.click()
    wait(lambda: "by seed 8" in get_cards(page)[1].text)
    assert "by seed 7" in get_cards(page)[0].text
    wait(lambda: not page._talk.is_busy)
    view = page._chat.list.find_view(0)
    assert view is not None
    view._question.again.click()
    wait(lambda: "by seed 9" in get_cards(page)[1].text and not page._talk.is_busy)
    assert "by seed 8" in get_cards(page)[0].text
    end_chat(page, wait)


def test_nine_columns_scroll_sideways_together_and_can_be_resized(
    studio: Studio, page: ComparePage, folder: str, play: Play, tmp_path: Path, wait: Wait
) -> None:
    play("chat")
    studio.window.resize(1000, 680)
    studio.window.show()
    open_chat(studio, page, folder, wait)
    for number in range(7):
        page._line_up.add(AdapterChoice(f"n{number}", tmp_path / str(number), ""))
    page._chat.prompt.sent.emit("Hello")
    wait(lambda: len(page._talk.exchanges) == 1 and not page._talk.is_busy)
    wait(lambda: len(get_cards(page)) == 9)  # they are built one by one
    cards, strip = get_cards(page), page._chat.strip
    assert {card.width() for card in cards} == {LEAST_WIDTH}
    bar = page._chat.list.horizontalScrollBar()
    bar.setValue(bar.maximum())
    origin = page._chat.mapToGlobal(page._chat.rect().topLeft()).x()
    for card, head in zip(cards, strip.heads, strict=True):
        assert (
            card.mapToGlobal(card.rect().topLeft()).x()
            == head.mapToGlobal(head.rect().topLeft()).x()
        )
    view = page._chat.list.find_view(0)
    assert view is not None
    part = view._question._part
    assert part.mapToGlobal(part.rect().topLeft()).x() == origin
    strip.width_chosen.emit(240)
    assert {card.width() for card in cards} == {head.width() for head in strip.heads} == {240}
    strip.width_chosen.emit(0)
    assert cards[0].width() == LEAST_WIDTH
    end_chat(page, wait)


def test_the_base_is_loaded_again_when_it_is_to_be_held_otherwise(
    studio: Studio, page: ComparePage, folder: str, play: Play, wait: Wait
) -> None:
    play("chat")
    open_chat(studio, page, folder, wait)
    first = page._link.job
    assert first is not None
    order = read_order(first)
    assert order.quantisation == "auto"
    assert [Path(one).parent for one in order.expected] == [Path(folder)]
    box = page._side.settings._base_form
    assert [box.itemData(place) for place in range(box.count())] == list(BASE_FORMS)
    box.show_form("nf4")
    box.activated.emit(box.currentIndex())
    second = page._link.job
    assert second is not None
    assert second is not first
    wait(lambda: page._link.is_ready and first.is_over)
    assert read_order(second).quantisation == "nf4"
    end_chat(page, wait)
