"""The scenes of a child that answers prompts."""

from __future__ import annotations

import os
import time

from studio.core.events import types
from studio.core.events.writer import EventWriter
from studio.core.jobs.control import ControlTail
from studio.core.jobs.orders import (
    AddColumn,
    Ask,
    CancelAsk,
    ChatOrder,
    ColumnWish,
    RemoveColumn,
    SetBlend,
    Stop,
)
from studio.core.runs.layout import RunLayout
from studio.core.runs.store import load_order


def answer(writer: EventWriter, ask: Ask, column: str) -> None:
    """Says who answers how strongly to what, so that a test can see what arrived."""
    wish = ask.per_column.get(column, ColumnWish())
    turns = wish.turns or ask.turns
    said = f"<b>{turns[-1].content}</b>"
    says = "says " if len(turns) == 1 else f"recalls {len(turns) - 1} and says "
    words = [f"{column} ", says, said]
    if wish.strength != 1:
        words.append(f" at {wish.strength:.0%}")
    if wish.seed:
        words.append(f" by seed {wish.seed}")
    for word in words:
        writer.write(types.TokensGenerated(request=ask.request, column=column, text=word))
    writer.write(
        types.AnswerFinished(
            request=ask.request,
            column=column,
            text="".join(words),
            tokens=3,
            seconds=0.1,
            reason="end_of_turn",
        )
    )


def play_chat(layout: RunLayout, writer: EventWriter) -> None:
    """Answers at once, except prompts with the word "slowly": those wait to be cancelled.

    Adapters in folders with the word "foreign" are refused.
    """
    order = load_order(layout)
    assert isinstance(order, ChatOrder)
    columns = ["base", *order.adapters]
    writer.write(types.JobStarted(kind="chat", process_id=os.getpid(), attempt=1))
    writer.write(types.PhaseEntered(phase="loading_model"))
    writer.write(types.ChatReady(columns=tuple(columns)))
    control = ControlTail.of_attempt(layout)
    while True:
        for request in control.read():
            if isinstance(request, Stop):
                writer.write(types.RunStopped(step=0))
                return
            take_chat_request(writer, request, columns)
        time.sleep(0.005)


def take_chat_request(writer: EventWriter, request: object, columns: list[str]) -> None:
    if isinstance(request, AddColumn | RemoveColumn):
        if isinstance(request, AddColumn) and "foreign" in request.adapter:
            words = f"The adapter in {request.adapter} was made for another model."
            writer.write(types.RequestFailed(request=request.request, code="x", message=words))
            return
        if isinstance(request, AddColumn):
            columns.append(request.column)
        else:
            columns.remove(request.column)
        writer.write(types.ColumnsChanged(request=request.request, columns=tuple(columns)))
    if isinstance(request, SetBlend):
        columns += [] if request.column in columns else [request.column]
        writer.write(
            types.BlendMeasured(
                request=request.request, column=request.column, rank=4, errors={2: 0.5, 4: 0.125}
            )
        )
        writer.write(types.ColumnsChanged(request=request.request, columns=tuple(columns)))
    if isinstance(request, CancelAsk):
        writer.write(
            types.RequestFailed(request=request.request, code="stopped", message="Stopped.")
        )
    if isinstance(request, Ask):
        writer.write(types.AnswerStarted(request=request.request, columns=request.columns))
        if "slowly" not in request.turns[-1].content:
            for column in request.columns:
                answer(writer, request, column)


def play_broken_chat(layout: RunLayout, writer: EventWriter) -> None:
    writer.write(types.JobStarted(kind="chat", process_id=os.getpid(), attempt=1))
    writer.write(
        types.RunFailed(code="model_unusable", message="No weights.", remedy="Choose another.")
    )
