"""The job that gives an export to Ollama or LM Studio on this machine; loads no torch."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from studio.core.errors import FileUnusable, NetworkFailed
from studio.core.events.types import (
    Event,
    ExportProgressed,
    HandedOver,
    NoticeRaised,
    PhaseEntered,
    RunFinished,
    RunStopped,
)
from studio.core.files import read_shared
from studio.core.jobs.orders import HandOverOrder
from studio.core.json_text import parse_json
from studio.core.network.fetch import FetchCancelled
from studio.core.network.gate import find_gate
from studio.core.paths import Home, find_home
from studio.core.programs import lm_studio, ollama
from studio.core.programs.exported import find_gguf, read_certificate, read_sample
from studio.core.runs.layout import RunLayout
from studio.engine.jobs.requests import RequestFeed, StopWished

_TOLD_BYTES = 32 << 20


def run(order: HandOverOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Makes a model of the export in the program that the order names.

    Yields:
        PhaseEntered, ExportProgressed, NoticeRaised where the model could not be asked,
        HandedOver, RunFinished; RunStopped alone after a stop.

    Raises:
        StudioError: The export was not verified, the program is not there, or it refuses.
    """
    home = find_home(layout.folder)
    steps = _make_in_ollama if order.program == "ollama" else _put_into_lm_studio
    try:
        control.check_stop()
        yield from steps(order, home, control)
    except (StopWished, FetchCancelled):
        yield RunStopped(step=0)
        return
    yield RunFinished(step=0)


def _make_in_ollama(order: HandOverOrder, home: Home, control: RequestFeed) -> Iterator[Event]:
    folder = Path(order.folder)
    sample = read_sample(read_certificate(folder))
    address = ollama.find_address(order.place or read_setting(home, ollama.ADDRESS_SETTING))
    server = ollama.OllamaServer(find_gate(home), address)
    version = server.get_version()

    def is_cancelled() -> bool:
        try:
            control.check_stop()
        except StopWished:
            return True
        return False

    steps = server.create(order.name, folder, replaces=order.replaces, is_cancelled=is_cancelled)
    name = yield from _follow(steps)
    made = HandedOver(program="ollama", name=name, place=server.address, version=version)
    if sample is not None:
        yield PhaseEntered(phase="finishing", detail="Asking the new model one question")
        try:
            spoken = server.ask_sample(name, sample, is_cancelled=is_cancelled)
        except FetchCancelled:
            raise
        except NetworkFailed as error:
            yield NoticeRaised(
                severity="warning",
                code="ollama_silent",
                message=f"The model was made, but it gave no answer. {error.message}",
                remedy=error.remedy,
            )
        else:
            made = made.model_copy(
                update={
                    "question": sample.question,
                    "expected": sample.answer,
                    "answer": spoken.text,
                    "expected_tokens": sample.tokens,
                    "read_tokens": spoken.read_tokens,
                }
            )
    yield made


def _follow(steps: Generator[tuple[str, int, int], None, str]) -> Generator[Event, None, str]:
    """Tells what goes on, the bytes not for each block; returns the name of the model."""
    told, told_bytes = "", 0
    with contextlib.closing(steps):
        while True:
            try:
                words, done, total = next(steps)
            except StopIteration as end:
                return str(end.value)
            if words != told:
                told, told_bytes = words, 0
                yield PhaseEntered(phase="saving", detail=words)
            if total and (done >= total or done - told_bytes >= _TOLD_BYTES):
                told_bytes = done
                yield ExportProgressed(done_bytes=done, total_bytes=total)


def _put_into_lm_studio(order: HandOverOrder, home: Home, control: RequestFeed) -> Iterator[Event]:
    folder = Path(order.folder)
    read_certificate(folder)
    file = find_gguf(folder)
    wished = order.place or read_setting(home, lm_studio.FOLDER_SETTING)
    models = lm_studio.find_models_folder(wished)
    if models is None:
        where = f"There is no folder {wished}." if wished else "LM Studio's folder was not found."
        raise FileUnusable(
            where,
            "Install LM Studio and start it once, or choose its folder of models on the Settings "
            "page.",
            code="lm_studio_missing",
        )
    yield PhaseEntered(phase="saving", detail=f"Copying into {models}")
    steps = lm_studio.put(file, models, order.name)
    told_bytes = 0
    with contextlib.closing(steps):
        while True:
            control.check_stop()
            try:
                done, total = next(steps)
            except StopIteration as end:
                place, is_link = end.value
                break
            if done == total or done - told_bytes >= _TOLD_BYTES:
                told_bytes = done
                yield ExportProgressed(done_bytes=done, total_bytes=total)
    name = "/".join(place.parent.relative_to(models).parts)
    yield HandedOver(program="lm_studio", name=name, place=str(place), is_link=is_link)


def read_setting(home: Home, name: str) -> str:
    """Returns a text of the user's preferences; empty where nothing was chosen."""
    try:
        values: Any = parse_json(read_shared(home.preferences))
    except (OSError, ValueError):
        return ""
    value = values.get(name) if isinstance(values, dict) else None
    return value if isinstance(value, str) else ""
