"""The chat job: keeps a base and adapters loaded and answers until it is told to end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Container, Iterator
from functools import partial
from pathlib import Path

from transformers import PreTrainedModel

from studio.core.errors import StudioError
from studio.core.events.types import (
    BlendMeasured,
    ChatReady,
    ColumnsChanged,
    Event,
    PhaseEntered,
    RequestFailed,
)
from studio.core.jobs.orders import (
    AddColumn,
    Ask,
    CancelAsk,
    ChatOrder,
    RemoveColumn,
    SetBlend,
)
from studio.core.runs.layout import RunLayout
from studio.engine.infer.live_blend import LiveBlends
from studio.engine.infer.session import ChatSession
from studio.engine.infer.speech import build_speech
from studio.engine.jobs.lease import wait_for_device
from studio.engine.jobs.presence import Presence
from studio.engine.jobs.quantised import (
    choose_quantisation,
    load_quantised,
    tell_other_form,
)
from studio.engine.jobs.requests import RequestFeed, StopWished, ends_when_stopped
from studio.engine.models.files import load_config, load_tokenizer
from studio.engine.models.load import resolve_device, resolve_dtype
from studio.engine.models.reference import find_model
from studio.engine.train.manifest import check_all_trained_on, check_trained_on

Wish = Ask | AddColumn | RemoveColumn | SetBlend
_POLL_SECONDS = 0.03


@ends_when_stopped
def run(order: ChatOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Loads the models, then answers requests one after the other.

    Adapters can come while answers are written; one that is answering leaves after its answer.
    Ends when told to, or when nobody asked for two minutes and the program that started it is
    gone.

    Yields:
        PhaseEntered, JobQueued, NoticeRaised, ChatReady; then AnswerStarted, TokensGenerated,
        AnswerFinished, BlendMeasured, ColumnsChanged or RequestFailed; at the end RunStopped.

    Raises:
        StudioError: The base or an adapter cannot be loaded.
    """
    yield PhaseEntered(phase="loading_model")
    reference = find_model(order.base, Path.cwd())
    check_all_trained_on(order.adapters.values(), reference.folder)
    device, _ = resolve_device(order.device)
    yield from wait_for_device(layout, device, control)
    dtype, _ = resolve_dtype(order.dtype, device)
    config = load_config(reference.folder)
    tokenizer = load_tokenizer(reference.folder)
    speech = build_speech(reference.folder, tokenizer, config, base_folder=reference.folder)
    adapters = (*order.adapters.values(), *order.expected)
    held_in = choose_quantisation(order.quantisation, adapters)
    model = yield from load_quantised(reference.folder, dtype, device, held_in)
    session = ChatSession(model, speech)
    session.add_adapters({name: Path(folder) for name, folder in order.adapters.items()})
    control.check_stop()
    yield ChatReady(columns=session.columns)
    blends = LiveBlends(session, layout.folder / "blends")
    watched = model if order.quantisation == "auto" else None
    desk = _Desk(control)
    yield from _serve(_Columns(session, blends, desk, reference.folder, watched), desk)


class Superseded(StudioError):
    """Something was begun that a newer wish makes needless."""


class _Desk:
    """The questions that wait, and whether somebody is still there to ask."""

    def __init__(self, control: RequestFeed) -> None:
        self._control = control
        self._wishes: deque[Wish] = deque()
        self._cancelled: set[int] = set()
        self._presence = Presence()

    def wait_for_wish(self) -> Wish:
        """Returns the next question or change of the columns.

        Raises:
            StopWished: The user ends the chat, or nobody is there any more.
        """
        while True:
            self._read()
            while self._wishes:
                wish = self._wishes.popleft()
                if wish.request not in self._cancelled:
                    return wish
            if self._presence.is_abandoned:
                raise StopWished
            time.sleep(_POLL_SECONDS)

    def take_changes(self, answering: Container[str]) -> list[AddColumn | RemoveColumn]:
        """Returns the changes of the columns that come next and need not wait for the answers."""
        changes: list[AddColumn | RemoveColumn] = []
        while self._wishes:
            wish = self._wishes[0]
            if isinstance(wish, Ask | SetBlend):  # a mix takes a while
                break
            if isinstance(wish, RemoveColumn) and wish.column in answering:
                break
            self._wishes.popleft()
            changes.append(wish)
        return changes

    def is_cancelled(self, ask: Ask) -> bool:
        """Returns whether the user no longer wants the answer.

        Raises:
            StopWished: The user ends the chat.
        """
        self._read()
        return ask.request in self._cancelled

    def check_wanted(self, wish: SetBlend) -> None:
        """Returns quietly unless a newer mix of the same column waits.

        Raises:
            StopWished: The user ends the chat.
            Superseded: A newer mix waits.
        """
        self._read()
        if any(isinstance(one, SetBlend) and one.column == wish.column for one in self._wishes):
            raise Superseded(
                "A newer mix of this column is wanted.", "Nothing is to be done.", code="superseded"
            )

    def _read(self) -> None:
        self._control.check_stop()
        for request in self._control.poll():
            self._presence.note()
            if isinstance(request, SetBlend):
                self._drop_older(request.column)  # a fader moves faster than a mix is made
            if isinstance(request, Ask | AddColumn | RemoveColumn | SetBlend):
                self._wishes.append(request)
            elif isinstance(request, CancelAsk):
                self._cancelled.add(request.request)

    def _drop_older(self, column: str) -> None:
        last = self._wishes[-1] if self._wishes else None
        if isinstance(last, SetBlend) and last.column == column:
            self._wishes.pop()


class _Columns:
    """What stands side by side, and how it changes.

    ``model`` is given where it is to be as the adapters saw it in training.
    """

    def __init__(
        self,
        session: ChatSession,
        blends: LiveBlends,
        desk: _Desk,
        base: Path,
        model: PreTrainedModel | None,
    ) -> None:
        self.session = session
        self._blends, self._desk, self._base, self._model = blends, desk, base, model

    def change(self, wish: AddColumn | RemoveColumn | SetBlend) -> Iterator[Event]:
        """Yields that the columns changed, or why they did not, and what is odd about them."""
        try:
            if isinstance(wish, SetBlend):
                check = partial(self._desk.check_wanted, wish)
                rank, errors = self._blends.show(wish.column, wish.blend, check)
                yield BlendMeasured(
                    request=wish.request, column=wish.column, rank=rank, errors=errors
                )
            elif isinstance(wish, AddColumn):
                check_trained_on(Path(wish.adapter), self._base)
                self.session.add_adapters({wish.column: Path(wish.adapter)})
            else:
                self.session.remove_adapter(wish.column)
        except StudioError as error:
            yield RequestFailed(
                request=wish.request, code=error.code, message=error.message, remedy=error.remedy
            )
            return
        yield ColumnsChanged(request=wish.request, columns=self.session.columns)
        if self._model is not None and isinstance(wish, AddColumn):
            yield from tell_other_form(self._model, wish.column, Path(wish.adapter))


def _serve(columns: _Columns, desk: _Desk) -> Iterator[Event]:
    session = columns.session
    while True:
        wish = desk.wait_for_wish()
        if not isinstance(wish, Ask):
            yield from columns.change(wish)
            continue
        answering = wish.columns or session.columns
        for event in session.answer(wish, partial(desk.is_cancelled, wish)):
            yield event
            for change in desk.take_changes(answering):
                yield from columns.change(change)
