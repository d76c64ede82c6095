"""Asking a chat job from the command line: all prompts in, all answers out."""

from __future__ import annotations

from collections.abc import Sequence

from studio.cli.console import Console
from studio.cli.jobs import run_job, short_lived
from studio.core.errors import StudioError
from studio.core.events.types import AnswerFinished, ChatReady, Event, RequestFailed
from studio.core.jobs.control import send
from studio.core.jobs.orders import Ask, ChatOrder, Stop
from studio.core.paths import Home


def answer(
    order: ChatOrder, asks: Sequence[Ask], console: Console, home: Home
) -> list[dict[str, str]]:
    """Return for each question the answers by column, ``base`` first.

    Raises:
        StudioError: The model cannot be loaded, or a question cannot be answered.
    """
    columns = ["base", *order.adapters]
    answers: list[dict[str, str]] = [{} for _ in asks]
    failures: list[RequestFailed] = []
    numbers = {ask.request: index for index, ask in enumerate(asks)}

    with short_lived(home) as layout:

        def take(event: Event) -> None:
            if isinstance(event, ChatReady):
                for ask in asks:
                    send(layout, ask)
            elif isinstance(event, AnswerFinished):
                answers[numbers[event.request]][event.column] = event.text
                done = sum(len(found) for found in answers)
                console.show_progress(f"{done} of {len(asks) * len(columns)} answers")
            elif isinstance(event, RequestFailed):
                failures.append(event)
            else:
                return
            if failures or all(len(found) == len(columns) for found in answers):
                send(layout, Stop())

        run_job(layout, order, console, take)
    if failures:
        raise StudioError(failures[0].message, failures[0].remedy, code=failures[0].code)
    return [{name: found[name] for name in columns} for found in answers]
