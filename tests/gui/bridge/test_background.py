from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from pytestqt.qtbot import QtBot

from studio.core.errors import FileUnusable, StudioError
from studio.gui.bridge.background import Background, Cancellation


@pytest.fixture
def background(qapp: object) -> Iterator[Background]:
    background = Background()
    yield background
    assert background.close()


def test_a_result_arrives_on_the_thread_that_asked(qtbot: QtBot, background: Background) -> None:
    threads: list[int] = []
    results: list[int] = []

    def work(_: Cancellation) -> int:
        threads.append(threading.get_ident())
        return 7

    def take(result: int) -> None:
        threads.append(threading.get_ident())
        results.append(result)

    call = background.start(work, take)
    qtbot.waitUntil(lambda: not background.is_busy)
    assert results == [7]
    assert threads[0] != threading.get_ident()
    assert threads[1] == threading.get_ident()
    assert call is not None


def test_a_known_error_arrives_as_it_is(qtbot: QtBot, background: Background) -> None:
    errors: list[StudioError] = []
    known = FileUnusable("The folder is gone.", "Choose another one.")

    def work(_: Cancellation) -> None:
        raise known

    background.start(work, print, errors.append)
    qtbot.waitUntil(lambda: not background.is_busy)
    assert errors == [known]


def test_an_unknown_error_arrives_in_words_with_its_cause(
    qtbot: QtBot, background: Background
) -> None:
    errors: list[StudioError] = []

    def work(_: Cancellation) -> None:
        raise ZeroDivisionError("by zero")

    background.start(work, print, errors.append)
    qtbot.waitUntil(lambda: not background.is_busy)
    assert "by zero" in errors[0].message
    assert errors[0].remedy
    assert isinstance(errors[0].__cause__, ZeroDivisionError)


def test_a_cancelled_call_keeps_its_result_to_itself(qtbot: QtBot, background: Background) -> None:
    results: list[bool] = []
    is_started, may_end = threading.Event(), threading.Event()

    def work(cancellation: Cancellation) -> bool:
        is_started.set()
        may_end.wait(5)
        return cancellation.is_set

    call = background.start(work, results.append)
    assert is_started.wait(5)
    call.cancel()
    may_end.set()
    qtbot.waitUntil(lambda: not background.is_busy)
    assert results == []
