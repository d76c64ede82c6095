"""An export that is killed or runs out of disk leaves no half file where a whole one belongs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.core.errors import DiskFull
from studio.core.events.types import ExportFinished, ExportProgressed, NoticeRaised
from studio.core.files import sweep_leftovers
from studio.core.jobs.orders import ExportOrder
from studio.core.recipe.schema import AdapterSettings
from studio.core.runs.capsule import check_capsule
from studio.core.runs.layout import RunLayout
from studio.core.runs.leftovers import clear_abandoned
from studio.engine.export import merged, shards, target
from studio.engine.export.gguf import model as gguf_model
from studio.engine.jobs import export
from studio.engine.lora.inject import inject
from studio.engine.lora.state import save_adapter
from studio.engine.models.load import load_model
from tests.engine.tiny_run import ScriptedControl, of_type

TARGETS = ("merged", "gguf", "adapter", "capsule")
_NEVER = 1 << 30
_AUDITED = {"open", "os.mkdir", "os.rename"}


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """A folder with an adapter of the tiny base."""
    folder = tmp_path_factory.mktemp("trained") / "adapter"
    model = load_model(tiny_base, torch.float32, torch.device("cpu"))
    settings = AdapterSettings(rank=8, alpha=8.0, targets="all-linear")
    save_adapter(inject(model, settings, seed=0), folder, base_model=str(tiny_base))
    return folder


def _order(adapter: Path, out: Path, kind: str) -> ExportOrder:
    return ExportOrder.model_validate({"adapter": str(adapter), "out": str(out), "target": kind})


def _run(order: ExportOrder) -> list[Any]:
    layout = RunLayout(Path(order.out))
    return list(export.run(order, layout, ScriptedControl(layout)))


def _export_until(text: str, moment: int, notes: str) -> None:
    """Exports in a child that kills itself when it touches the place for the ``moment``-th time."""
    order = ExportOrder.model_validate_json(text)
    out, count = Path(order.out), 0

    def step() -> None:
        nonlocal count
        count += 1
        if count == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _AUDITED and f"{out.parent}{os.sep}" in str(arguments[0]):
            step()

    for module in (shards, merged, gguf_model):
        module.BLOCK_BYTES = 4000  # type: ignore[attr-defined]  # a child of its own
    sys.addaudithook(watch)
    layout = RunLayout(out)
    for event in export.run(order, layout, ScriptedControl(layout)):
        if isinstance(event, ExportProgressed):
            step()
        if isinstance(event, ExportFinished):
            Path(notes).write_text(str(count), encoding="utf-8")


def _start(order: ExportOrder, moment: int, notes: Path) -> int | None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["studio.engine.jobs.export", "tests.engine.tiny_run"])
    process = context.Process(
        target=_export_until, args=(order.model_dump_json(), moment, str(notes))
    )
    process.start()
    process.join()
    return process.exitcode


def _check_whole(out: Path, expected: Path, kind: str) -> None:
    """What stands under the final name must be what an undisturbed export writes."""
    if kind == "capsule":
        check_capsule(next(out.iterdir()))
        return
    for path in out.iterdir():
        if path.suffix in (".safetensors", ".gguf"):
            assert path.read_bytes() == (expected / path.name).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a fork server to be quick")
@pytest.mark.parametrize("kind", TARGETS)
def test_a_killed_export_leaves_no_half_file_under_the_final_name(
    kind: str, adapter: Path, tmp_path: Path
) -> None:
    whole = _order(adapter, tmp_path / "whole" / "out", kind)
    assert _start(whole, _NEVER, tmp_path / "count") == 0
    count = int((tmp_path / "count").read_text())
    assert count > 5
    place = tmp_path / "place"
    order = _order(adapter, place / "out", kind)
    is_seen, cut = set(), 0
    for moment in (1, 2, count // 4, count // 2, count - 1):
        assert _start(order, moment, tmp_path / "never") == -signal.SIGKILL
        out = place / "out"
        is_seen.add(out.exists())
        if out.exists():
            _check_whole(out, tmp_path / "whole" / "out", kind)
            out.rename(tmp_path / f"done {moment}")
        if any(place.glob("*.owner")):
            cut = moment
            clear_abandoned(out)
            assert list(place.iterdir()) == []
        elif place.exists():
            sweep_leftovers(place)
            assert list(place.iterdir()) == []
    assert False in is_seen
    assert _start(order, cut, tmp_path / "never") == -signal.SIGKILL
    events = _run(order)
    assert of_type(events, ExportFinished)[0].is_verified
    (told,) = [one for one in of_type(events, NoticeRaised) if one.code == "export_cleared"]
    assert "cut short" in told.message
    assert list(place.iterdir()) == [place / "out"]


def test_a_disk_that_fills_up_meanwhile_is_told_and_left_as_it_was(
    adapter: Path,
    tiny_base: Path,
    small_disk: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del tiny_base
    monkeypatch.setattr(target, "check_free_space", lambda *_: None)  # there was room at first
    disk = small_disk(64 << 10)
    waste = disk / "waste"
    waste.write_bytes(bytes(48 << 10))
    for kind in (*TARGETS, "gguf_lora", "ollama"):
        with pytest.raises(DiskFull, match="no space left") as caught:
            _run(_order(adapter, disk / "out", kind))
        assert "Free some space" in caught.value.remedy
        assert list(disk.iterdir()) == [waste], kind
