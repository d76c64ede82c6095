"""Beside the answers: blind votes and ranks, conversations, prompt sets, history, export."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.core.compare.exchanges import KeptAnswer, KeptExchange
from studio.core.compare.journal import Journal
from studio.core.compare.prompts import load_prompts
from studio.core.compare.votes import Vote
from studio.core.jobs.orders import Turn
from studio.core.paths import Home
from studio.gui.app import Studio
from studio.gui.pages.compare.page import ComparePage
from tests.gui.pages import test_compare_page as columns
from tests.gui.pages.test_compare_page import Wait, end_chat, get_cards, open_chat
from tests.gui.playing import Play

page, folder, wait = columns.page, columns.folder, columns.wait


@pytest.fixture
def chat(studio: Studio, page: ComparePage, folder: str, play: Play, wait: Wait) -> ComparePage:
    """The page with a base and one adapter that can answer."""
    play("chat")
    open_chat(studio, page, folder, wait)
    return page


def ask(page: ComparePage, text: str, wait: Wait) -> None:
    count = len(page._talk.exchanges)
    page._chat.prompt.sent.emit(text)
    wait(lambda: len(page._talk.exchanges) == count + 1 and not page._talk.is_busy)


def test_a_blind_vote_by_key_reveals_the_names_and_changes_the_ranks(
    chat: ComparePage, home: Home, qtbot: QtBot, wait: Wait, tmp_path: Path
) -> None:
    chat._talk._shuffle = lambda names: names.reverse()
    chat._chooser._blind.click()
    assert chat._chat.strip.isHidden()
    ask(chat, "Hello", wait)
    cards, view = get_cards(chat), chat._chat.list.find_view(0)
    assert view is not None
    assert [card._name.text() for card in cards] == ["Answer A", "Answer B"]
    assert [card.text.split()[0] for card in cards] == ["pirate", "base"]
    for card in cards:
        assert card._facts.text() == " "
        assert card._again.isHidden()
        assert card._answer.extraSelections() == []
        assert "pirate" not in card._answer.accessibleName()
    assert view.votes is not None
    chat._side.drawer.show_panel("ranks")
    qtbot.keyClick(view.votes, Qt.Key.Key_7)
    assert view.votes is not None
    chat._side.export_preferences(tmp_path / "none.jsonl")
    wait(lambda: not chat._notice.isHidden())
    assert "no preference pair yet" in chat._notice._message.text()
    assert not (tmp_path / "none.jsonl").exists()
    qtbot.keyClick(view.votes, Qt.Key.Key_1)
    assert view.votes is None
    assert [card._name.text() for card in cards] == ["A: pirate", "B: Base"]
    assert cards[0]._chip.text() == "Best"
    assert "30 tokens/s" in cards[0]._facts.text()
    wait(lambda: chat._side._ranks._rows.count() == 2)
    first = chat._side._ranks._rows.itemAt(0).widget()
    assert first is not None
    assert first.accessibleName().startswith("1. pirate")
    assert "1 won, 0 drawn, 0 lost" in first.accessibleName()
    ask(chat, "Again", wait)
    view = chat._chat.list.find_view(1)
    assert view is not None
    assert view.votes is not None
    qtbot.keyClick(view.votes, Qt.Key.Key_0)
    votes = Journal(home.compare / "votes.jsonl", Vote)
    wait(lambda: len(votes.load()) == 2)
    assert [vote.winner for vote in votes.load()] == [0, None]
    chat._side.export_preferences(tmp_path / "pairs.jsonl")
    wait(lambda: not chat._notice.isHidden())
    assert chat._notice._message.text().startswith("1 preference pair was")
    pair = json.loads((tmp_path / "pairs.jsonl").read_text(encoding="utf-8"))
    assert pair["chosen"][0]["content"].startswith("pirate says")
    assert pair["rejected"][0]["content"].startswith("base says")
    end_chat(chat, wait)


def test_equal_answers_ask_for_no_vote_and_count_as_a_tie(
    chat: ComparePage, home: Home, qtbot: QtBot, wait: Wait
) -> None:
    chat._chooser._blind.click()
    ask(chat, "Hello", wait)
    exchange, view = chat._talk.exchanges[0], chat._chat.list.find_view(0)
    assert view is not None
    for name, answer in exchange.answers.items():
        exchange.answers[name] = answer.model_copy(update={"text": "Hello."})
    chat._stage._on_talk_completed(exchange)
    assert view.votes is not None
    assert view.votes.accessibleName() == "All answers are the same."
    qtbot.keyClick(view.votes, Qt.Key.Key_1)
    assert view.votes is not None
    qtbot.keyClick(view.votes, Qt.Key.Key_0)
    assert view.votes is None
    votes = Journal(home.compare / "votes.jsonl", Vote)
    wait(lambda: len(votes.load()) == 1)
    assert votes.load()[0].winner is None
    end_chat(chat, wait)


def test_the_keyboard_comes_back_to_the_button_that_asked_again(
    chat: ComparePage, wait: Wait
) -> None:
    ask(chat, "Hello", wait)
    again = get_cards(chat)[1]._again
    again.setFocus()
    again.click()
    assert chat._chat.prompt.has_keyboard
    wait(lambda: not chat._talk.is_busy)
    assert chat.window().focusWidget() is again
    chat._chat.prompt.show_suggestions(["Who are you?"])
    button = chat._chat.prompt._flow.itemAt(1).widget()
    assert button is not None
    button.setFocus()
    button.click()
    assert chat._chat.prompt.has_keyboard
    wait(lambda: not chat._talk.is_busy)
    end_chat(chat, wait)


def test_a_blind_test_needs_two_columns(chat: ComparePage, wait: Wait) -> None:
    chat._chooser._blind.click()
    chat._line_up.remove("pirate")
    assert not chat._chooser._blind.isEnabled()
    assert not chat._is_blind
    assert not chat._chat.strip.isHidden()
    end_chat(chat, wait)


def test_in_a_conversation_each_column_goes_on_from_its_own_answers(
    chat: ComparePage, wait: Wait
) -> None:
    ask(chat, "Alone", wait)
    chat._side.settings._memory.chosen.emit("talk")
    chat._side.settings._system.setPlainText("Be brief.")
    ask(chat, "One", wait)
    assert get_cards(chat, 1)[1].text == "pirate recalls 1 and says <b>One</b>"
    ask(chat, "Two", wait)
    assert get_cards(chat, 2)[1].text == "pirate recalls 3 and says <b>Two</b>"
    turns = chat._talk.exchanges[2].turns["pirate"]
    assert [turn.role for turn in turns] == ["system", "user", "assistant", "user"]
    assert turns[2].content == "pirate recalls 1 and says <b>One</b>"
    chat._side.settings._over.click()
    ask(chat, "Three", wait)
    assert [turn.content for turn in chat._talk.exchanges[3].turns["base"]] == [
        "Be brief.",
        "Three",
    ]
    end_chat(chat, wait)


def test_settings_become_the_options_of_the_question(page: ComparePage) -> None:
    panel = page._side.settings
    assert panel.options.temperature == 0
    panel._chance.chosen.emit("draw")
    panel._temperature.setValue(1.2)
    panel._top_k.setValue(40)
    panel._min_p.setValue(0.05)
    panel._penalty.setValue(1.1)
    panel._seed.setValue(7)
    panel._mode.chosen.emit("raw")
    panel._stops.setPlainText("END\n\\n\\n")
    options = panel.options
    assert (options.temperature, options.seed, options.is_raw) == (1.2, 7, True)
    assert (options.top_k, options.min_p, options.repetition_penalty) == (40, 0.05, 1.1)
    assert options.stop_texts == ("END", "\n\n")
    assert "temperature 1.2, seed 7" in page._chat.prompt._words.text()
    assert panel._cells["System prompt"].isHidden()


def test_a_set_of_prompts_is_kept_asked_in_turn_exported_and_deleted(
    chat: ComparePage, wait: Wait, tmp_path: Path
) -> None:
    panel = chat._side.prompts
    ask(chat, "One", wait)
    ask(chat, "Two", wait)
    panel._name.setText("my set")
    panel._save.click()
    wait(lambda: panel.current == "my-set")
    wait(lambda: panel._preview.text() == "2 prompts\n· One\n· Two")
    panel._ask.click()
    wait(lambda: len(chat._talk.exchanges) == 4 and not chat._talk.is_busy)
    assert [exchange.prompt for exchange in chat._talk.exchanges] == ["One", "Two"] * 2
    chat._side.desk.export_set("my-set", tmp_path / "out.jsonl")
    wait(lambda: (tmp_path / "out.jsonl").exists())
    assert [turns[0].content for turns in load_prompts(tmp_path / "out.jsonl")] == ["One", "Two"]
    wait(lambda: not panel.notice.isHidden())
    chat._side.desk.import_file(tmp_path / "out.jsonl")
    wait(lambda: panel._list.count() == 2)
    (tmp_path / "bad.jsonl").write_text("nothing", encoding="utf-8")
    chat._side.desk.import_file(tmp_path / "bad.jsonl")
    wait(lambda: "line 1" in panel.notice._message.text())
    panel.remove_requested.emit("my-set")
    wait(lambda: panel._list.count() == 1)
    end_chat(chat, wait)


def test_the_history_is_searched_shown_again_reused_and_deleted(
    chat: ComparePage, wait: Wait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(chat, "Where is Greta?", wait)
    ask(chat, "What is a ship?", wait)
    history = chat._side._history
    chat._side.drawer.toggle("history")
    wait(lambda: history._list.count() == 2)
    assert history._list.item(0).text().startswith("What is a ship?")
    history._search.setText("greta")
    assert history._list.count() == 1
    history._list.setCurrentRow(0)
    history._show.click()
    cards = get_cards(chat, -1)
    assert [card.text for card in cards] == [
        "base says <b>Where is Greta?</b>",
        "pirate says <b>Where is Greta?</b>",
    ]
    assert cards[0]._again.isHidden()
    history._reuse.click()
    assert chat._chat.prompt.text == "Where is Greta?"
    chat._side.export_markdown(tmp_path / "answers.md")
    wait(lambda: (tmp_path / "answers.md").exists())
    text = (tmp_path / "answers.md").read_text(encoding="utf-8")
    assert "```text\npirate says <b>What is a ship?</b>\n```" in text
    wait(lambda: not chat._notice.isHidden())
    history._search.clear()
    monkeypatch.setattr("studio.gui.pages.compare.history_panel.confirm_loss", lambda *_: False)
    history._clear.click()
    assert history._list.count() == 2
    monkeypatch.setattr("studio.gui.pages.compare.history_panel.confirm_loss", lambda *_: True)
    history._clear.click()
    wait(lambda: history._list.count() == 0)
    end_chat(chat, wait)


def test_the_history_of_an_earlier_visit_is_shown_before_any_adapter_is_chosen(
    page: ComparePage, folder: str, home: Home, play: Play, wait: Wait
) -> None:
    adapter = str(Path(folder) / "adapter")
    page.refresh()
    wait(lambda: bool(page._shelf.groups))
    base = page._shelf.groups[0].final.base
    answers = [KeptAnswer(column=name, text=f"{name}!") for name in ("base", "pirate", "third")]
    answers[1] = answers[1].model_copy(update={"adapter": adapter})
    kept = KeptExchange(
        time_seconds=1.0,
        base=base,
        turns=(Turn(role="user", content="Ahoy?"),),
        answers=tuple(answers),
    )
    Journal(home.compare / "history.jsonl", KeptExchange).append(kept)
    history = page._side._history
    page._side.drawer.toggle("history")
    wait(lambda: history._list.count() == 1)
    history._list.setCurrentRow(0)
    history._show.click()
    assert page._stack.currentWidget() is page._chat
    assert [card.text for card in get_cards(page, -1)] == ["base!", "pirate!", "third!"]
    assert page._chat.prompt.isHidden()
    assert "Use prompt" in page._chat._state.text()
    play("chat")
    history._reuse.click()
    assert page._line_up.base == base
    assert page._line_up.adapters == ("pirate",)
    assert page._chat.prompt.text == "Ahoy?"
    wait(lambda: page._link.is_ready)
    end_chat(page, wait)


def test_what_was_answered_is_on_the_disk_when_the_window_closes(
    studio: Studio, home: Home, qtbot: QtBot
) -> None:
    page, background = studio.window.get_page("compare"), studio.context.background
    assert isinstance(page, ComparePage)
    qtbot.waitUntil(lambda: not background.is_busy)
    is_free = threading.Event()
    for _ in range(2):  # all threads are busy, so that nothing is written beside the window
        background.start(lambda _: is_free.wait(20), lambda _: None)
    for moment in (1.0, 2.0):
        kept = KeptExchange(time_seconds=moment, base="b", turns=(), answers=())
        page._side._records.keep(kept)
    studio.window.close()
    journal = Journal(home.compare / "history.jsonl", KeptExchange)
    assert [one.time_seconds for one in journal.load()] == [1.0, 2.0]
    is_free.set()
    qtbot.waitUntil(lambda: not background.is_busy)
    assert len(journal.load()) == 2
