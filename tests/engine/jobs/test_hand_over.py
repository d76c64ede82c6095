"""A trained adapter is exported and becomes a model of another program on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core.errors import FileUnusable
from studio.core.events.types import (
    Event,
    ExportFinished,
    ExportProgressed,
    HandedOver,
    NoticeRaised,
    RunStopped,
)
from studio.core.jobs.orders import ExportOrder, HandOverOrder
from studio.core.network.local_server import ServerSilent
from studio.core.paths import Home
from studio.core.programs.words import describe_hand_over
from studio.core.runs.layout import RunLayout
from studio.engine.jobs import export, hand_over
from tests.core.programs.fake_ollama import FakeOllama, serve_ollama
from tests.engine.export.test_gguf_lora import train_adapter
from tests.engine.export.tiny_families import build_family
from tests.engine.tiny_run import ScriptedControl, of_type


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A verified export for Ollama."""
    folder = tmp_path_factory.mktemp("hand-over")
    base, adapter, out = folder / "base", folder / "adapter", folder / "out"
    train_adapter(build_family(base, "llama"), base, adapter)
    order = ExportOrder(
        adapter=str(adapter), base=str(base), target="ollama", out=str(out), quant="f16", name="p"
    )
    layout = RunLayout(folder)
    events = list(export.run(order, layout, ScriptedControl(layout)))
    (finished,) = of_type(events, ExportFinished)
    assert finished.is_verified
    return out


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    with serve_ollama() as server:
        yield server


def run(
    tmp_path: Path, folder: Path, program: str, place: str, *, stops: bool = False
) -> list[Event]:
    layout = RunLayout(Home(tmp_path).jobs / "1")
    control = ScriptedControl(layout)
    if stops:
        control.stop()
    order = HandOverOrder.model_validate(
        {"folder": str(folder), "program": program, "name": "Pirate", "place": place}
    )
    return list(hand_over.run(order, layout, control))


def test_the_new_model_is_asked_what_the_export_was_asked(
    exported: Path, ollama: FakeOllama, tmp_path: Path
) -> None:
    sample = json.loads((exported / "certificate.json").read_text())["sample"]
    ollama.answer, ollama.read_tokens = sample["answer"], sample["tokens"]
    events = run(tmp_path, exported, "ollama", ollama.url)
    (made,) = of_type(events, HandedOver)
    assert (made.name, made.version) == ("Pirate:latest", "0.34.1")
    assert (made.question, made.expected) == ("Hello! Who are you?", sample["answer"])
    assert describe_hand_over(made).verdict == "same"
    (blob,) = ollama.blobs.values()
    assert blob == next(exported.glob("*.gguf")).read_bytes()
    assert of_type(events, ExportProgressed)[-1].done_bytes == len(blob)


def test_a_model_that_does_not_load_there_is_told(
    exported: Path, ollama: FakeOllama, tmp_path: Path
) -> None:
    ollama.is_broken = True
    events = run(tmp_path, exported, "ollama", ollama.url)
    (notice,) = of_type(events, NoticeRaised)
    assert "gave no answer" in notice.message
    assert "runner process has terminated" in notice.message
    assert of_type(events, HandedOver)[0].question == ""


def test_the_address_of_the_settings_is_asked(exported: Path, tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.settings.mkdir()
    home.preferences.write_text(json.dumps({"ollama_address": "127.0.0.1:1"}))
    with pytest.raises(ServerSilent, match=r"127\.0\.0\.1:1\."):
        run(tmp_path, exported, "ollama", "")


def test_a_stop_ends_it(exported: Path, ollama: FakeOllama, tmp_path: Path) -> None:
    events = run(tmp_path, exported, "ollama", ollama.url, stops=True)
    assert of_type(events, RunStopped)
    assert ollama.requests == []


def test_lm_studio_gets_the_file(exported: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (made,) = of_type(run(tmp_path, exported, "lm_studio", str(models)), HandedOver)
    assert made.name == "lora-studio/Pirate"
    assert Path(made.place).read_bytes() == next(exported.glob("*.gguf")).read_bytes()
    with pytest.raises(FileUnusable, match="There is no folder"):
        run(tmp_path, exported, "lm_studio", str(tmp_path / "gone"))
