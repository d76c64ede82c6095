from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pytestqt.qtbot import QtBot
from safetensors.torch import save_file

from studio.core.paths import Home
from studio.core.word_diff import diff_words
from studio.gui.app import Studio
from studio.gui.pages.mix.page import MixPage
from studio.gui.widgets.marked_text import MarkedText
from tests.gui.playing import TIMEOUT_MS, Play
from tests.gui.story import tell_finished, write_run

Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def wait(qtbot: QtBot) -> Wait:
    return lambda is_true: qtbot.waitUntil(is_true, timeout=TIMEOUT_MS)


@pytest.fixture
def page(studio: Studio, home: Home, wait: Wait) -> MixPage:
    page = studio.window.get_page("mix")
    assert isinstance(page, MixPage)
    assert page._start._words.text() == "Add an adapter first."
    for number, name in enumerate(("pirate", "polite")):
        folder = Path(write_run(home, name, tell_finished(), 1_790_000_000.0 + number))
        (folder / "adapter").mkdir()
        key = "base_model.model.model.layers.{}.mlp.up_proj.lora_A.weight"
        tensors = {key.format(layer): torch.zeros(1, 1) for layer in range(6)}
        save_file(tensors, folder / "adapter" / "adapter_model.safetensors")
        studio.window.show_run("mix", str(folder))
        wait(lambda: len(page._faders._channels) > number)  # noqa: B023 - waited for at once
    return page


def test_faders_make_the_mix(page: MixPage) -> None:
    first, second = page._faders._channels.values()
    first.show_value(0.75)
    second.show_value(-0.5)
    late = first._faders[2][0]
    late.show_value(0.0)
    page._method.show_method("svd")
    page._method._rank.setValue(4)
    blend = page.build_blend()
    assert (blend.method, blend.rank) == ("svd", 4)
    assert [part.weight for part in blend.parts] == [0.75, -0.5]
    ((gain,), none) = (part.gains for part in blend.parts)
    assert (gain.layers, gain.factor, none) == ("4-5", 0.0, ())


def test_the_mix_answers_and_answers_again_when_a_fader_moves(
    page: MixPage, play: Play, wait: Wait
) -> None:
    play("chat")
    page._listen._prompt.setText("Hello")
    page._listen._ask.click()
    wait(lambda: page._listen._texts.get("mix") == "mix says <b>Hello</b>")
    job = page._live._job
    assert job is not None
    page._listen.clear_answers()
    next(iter(page._faders._channels.values())).show_value(0.3)
    assert page._settle.isActive()
    wait(lambda: "mix" in page._listen._texts)
    assert page._live._job is job
    page._live.close()
    wait(lambda: job.is_over)


@pytest.mark.parametrize("method", ["svd", "ties", "dare"])
def test_every_method_follows_the_faders_and_tells_what_is_lost(
    method: str, page: MixPage, play: Play, wait: Wait
) -> None:
    play("chat")
    page._listen._prompt.setText("Hello")
    page._method.show_method(method)
    assert page._settle.isActive()
    page._listen._switches["pirate"].click()
    wait(lambda: page._listen._texts.get("alone:pirate") == "alone:pirate says <b>Hello</b>")
    assert page._live._blend is not None
    assert page._live._blend.method == method
    assert "Rank 4 cannot hold 12.5 % of the mix." in page._method._errors.text()
    assert "2: 50 %" in page._method._errors.text()
    page._listen._switches["pirate"].click()
    assert "alone:pirate" not in page._listen._views
    wait(lambda: not page._live._alone)
    wait(lambda: page._listen._texts.get("mix") == "mix says <b>Hello</b>")
    job = page._live._job
    assert job is not None
    page._live.close()
    wait(lambda: job.is_over)


def test_a_saved_mix_says_what_was_lost_and_leads_to_compare(
    page: MixPage, play: Play, wait: Wait, qtbot: QtBot
) -> None:
    play("blend")
    page._name.setText("Half pirate")
    page._start._start.click()
    wait(lambda: not page._notice.isHidden())
    assert "“Half pirate” is saved" in page._notice._message.text()
    assert "12.5 %" in page._notice._remedy.text()
    with qtbot.waitSignal(page.run_requested) as asked:
        page._notice._action.click()
    assert asked.args == ["compare", "/runs/half"]


def test_marks_are_forgotten_with_their_text(qtbot: QtBot) -> None:
    text = MarkedText()
    qtbot.addWidget(text)
    text.show_pieces(diff_words("😀 Arr! yes", "yes"))
    (mark,) = text.extraSelections()
    assert mark.cursor.selectedText().strip() == "😀 Arr!"
    text.show_text("x", "muted")
    assert text.extraSelections() == []
