"""The download job: one version of a hub repository onto this machine; loads no torch."""

from __future__ import annotations

import time
from collections.abc import Iterator

from studio.core.events.types import (
    DownloadFinished,
    DownloadProgressed,
    Event,
    PhaseEntered,
    RunFinished,
    RunStopped,
)
from studio.core.hub.choose import choose_files
from studio.core.hub.client import HubDetails, describe
from studio.core.hub.download import Downloader
from studio.core.hub.names import Repository, get_repository
from studio.core.hub.refusals import HubRefused
from studio.core.jobs.orders import DownloadOrder
from studio.core.network.fetch import Cancelled, FetchCancelled
from studio.core.network.gate import Gate, find_gate
from studio.core.paths import find_home
from studio.core.runs.layout import RunLayout
from studio.engine.jobs.requests import RequestFeed, StopWished

TELL_SECONDS = 0.2


def run(order: DownloadOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Fetches what is missing of one version and links it into the hub's cache.

    Yields:
        PhaseEntered, DownloadProgressed, DownloadFinished, RunFinished; RunStopped after a stop,
        with everything kept that has arrived.

    Raises:
        StudioError: The gate is closed, the hub refuses, the network fails or the disk is full.
    """
    try:
        yield from _download(order, layout, control)
    except (FetchCancelled, StopWished):
        yield RunStopped(step=0)


def _find(gate: Gate, order: DownloadOrder, is_stopped: Cancelled) -> HubDetails:
    """Returns the wanted version of the model of that name, or else of the data set."""
    first = get_repository(order.name, order.repository or "model")
    try:
        return describe(gate, first, order.revision, is_cancelled=is_stopped)
    except HubRefused as error:
        if order.repository is not None or error.code != "hub_not_found":
            raise
        second = Repository("dataset", first.name)
        try:
            return describe(gate, second, order.revision, is_cancelled=is_stopped)
        except HubRefused:
            raise error from None


def _download(order: DownloadOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    def is_stopped() -> bool:
        try:
            control.check_stop()
        except StopWished:
            return True
        return False

    gate = find_gate(find_home(layout.folder))
    yield PhaseEntered(phase="downloading", detail=order.name)
    details = _find(gate, order, is_stopped)
    repository = details.entry.repository
    files = choose_files(details, order.only)
    loader = Downloader(gate, details, files, is_cancelled=is_stopped)
    told_seconds = 0.0
    for progress in loader.iter_download(order.revision or "main"):
        is_over = progress.done_files == progress.total_files
        if time.monotonic() - told_seconds >= TELL_SECONDS or is_over:
            told_seconds = time.monotonic()
            yield DownloadProgressed(
                done_bytes=progress.done_bytes,
                total_bytes=progress.total_bytes,
                path=progress.path,
                done_files=progress.done_files,
                total_files=progress.total_files,
            )
    yield DownloadFinished(
        name=repository.name,
        folder=str(loader.snapshot),
        revision=details.commit,
        files=len(files),
        total_bytes=sum(file.size_bytes for file in files),
    )
    yield RunFinished(step=0)
