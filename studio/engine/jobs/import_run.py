"""The import job: an adapter folder or a capsule is checked in full, then joins the history."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.core.errors import ModelUnusable
from studio.core.events.types import (
    Event,
    ExportProgressed,
    ImportFinished,
    NoticeRaised,
    PhaseEntered,
    RunFinished,
)
from studio.core.jobs.orders import ImportOrder
from studio.core.json_text import parse_json
from studio.core.paths import Home
from studio.core.runs.capsule import read_index
from studio.core.runs.importing import (
    find_adapter_files,
    find_adapter_folder,
    import_adapter,
    import_capsule,
    is_capsule,
)
from studio.core.runs.layout import RunLayout
from studio.core.runs.store import RunStore
from studio.engine.jobs.requests import RequestFeed, ends_when_stopped
from studio.engine.lora.stored import read_adapter
from studio.engine.models.reference import find_model, hash_file, hash_model


@ends_when_stopped
def run(order: ImportOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Brings what ``order.source`` names into the history of ``order.home``.

    Yields:
        PhaseEntered, ExportProgressed, NoticeRaised for what is not on this machine,
        ImportFinished, RunFinished; RunStopped alone after a stop, with nothing left behind.

    Raises:
        StudioError: The adapter or capsule is broken or unsafe; nothing was imported.
    """
    del layout  # the order says everything
    source, store = Path(order.source), RunStore(Home(Path(order.home)))
    yield PhaseEntered(phase="loading_data", detail=f"Checking {source.name}")
    modules: list[int] = []

    def check(folder: Path) -> None:
        control.check_stop()
        # The number alone: what is read is the file itself, and Windows moves no file in use.
        modules.append(len(read_adapter(folder).modules))

    if is_capsule(source):
        files = read_index(source).files
        steps = import_capsule(order, store.folder, check)
        total_bytes, hashes = source.stat().st_size, len(files)
    else:
        steps = import_adapter(order, store.folder, check)
        copies = find_adapter_files(find_adapter_folder(source))
        total_bytes, hashes = sum(path.stat().st_size for path in copies.values()), 0
    done_bytes = 0
    while True:
        control.check_stop()
        try:
            done_bytes += next(steps)
        except StopIteration as end:
            found: RunLayout = end.value
            break
        yield ExportProgressed(done_bytes=done_bytes, total_bytes=max(total_bytes, done_bytes))
    yield from _compare_inputs(found)
    kept = store.load_order(found)
    if isinstance(kept, ImportOrder) and not found.recipe.is_file():
        yield from _seek_base(kept)
    yield ImportFinished(
        folder=str(found.folder),
        name=store.load(found).name,
        base=kept.base if isinstance(kept, ImportOrder) else None,
        modules=modules[-1],
        hashes=hashes,
    )
    yield RunFinished(step=0)


def _seek_base(kept: ImportOrder) -> Iterator[NoticeRaised]:
    """Says where the base model of an adapter is not on this machine, or not known."""
    remedy = "Choose the folder of that model, or download it."
    if not kept.base:
        message = "The adapter does not say which model it was trained on."
        yield NoticeRaised(
            severity="warning", code="base_missing", message=message,
            remedy="Choose the folder of that model.",
        )  # fmt: skip
        return
    try:
        find_model(kept.base, Path(kept.base_folder or Path(kept.source).parent))
    except ModelUnusable as error:
        yield NoticeRaised(
            severity="warning", code="base_missing", message=error.message, remedy=remedy
        )


def _compare_inputs(layout: RunLayout) -> Iterator[NoticeRaised]:
    """Says which inputs of the run, named by its manifest, are missing or different here."""
    if not layout.manifest.is_file():
        return
    try:
        manifest: dict[str, Any] = parse_json(layout.manifest.read_bytes())
        folder, base_files = Path(manifest["base"]["folder"]), dict(manifest["base"]["files"])
        data = dict(manifest["data"])
    except (ValueError, KeyError, TypeError) as error:
        yield NoticeRaised(
            severity="warning",
            code="manifest_unreadable",
            message=f"What the run was made from cannot be read in its manifest: {error}.",
            remedy="The adapter works without it; the run cannot be compared with its inputs.",
        )
        return
    missing, changed = [], []
    if not folder.is_dir():
        missing.append(str(folder))
    elif hash_model(folder) != base_files:
        changed.append(str(folder))
    for path, expected in data.items():
        if not Path(path).is_file():
            missing.append(path)
        elif hash_file(Path(path)) != expected:
            changed.append(path)
    for code, paths, words in (
        ("inputs_missing", missing, "not on this machine"),
        ("inputs_changed", changed, "here, but with other contents"),
    ):
        if paths:
            yield NoticeRaised(
                severity="note",
                code=code,
                message=f"To repeat the run, this is needed and {words}: {', '.join(paths)}.",
                remedy="The adapter works without it. Put it there before you repeat the run, or "
                "choose another place in the recipe.",
            )
