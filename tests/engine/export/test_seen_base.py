"""Adapters of a quantised base: LoftQ is not merged, others are, and the cost is told."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.core.errors import AdapterUnusable
from studio.core.events.types import Event, ExportFinished, NoticeRaised
from studio.core.jobs.orders import ExportOrder
from studio.core.recipe.schema import AdapterSettings
from studio.core.runs.layout import RunLayout
from studio.engine.export.answers import ModelAnswerer
from studio.engine.export.seen_base import describe_other_base
from studio.engine.jobs import export
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.blend import check_blendable
from studio.engine.lora.inits.loftq import watch
from studio.engine.lora.inject import inject
from studio.engine.lora.state import load_adapter, save_adapter
from studio.engine.lora.stored import read_adapter
from studio.engine.models.load import load_model
from tests.engine.tiny_run import ScriptedControl, build_base, of_type

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama whose layers are wide enough to be quantised."""
    return build_base(tmp_path_factory.mktemp("wide"), hidden_size=64, intermediate_size=128)


def _train(base: Path, folder: Path, kind: str, init: str = "kaiming") -> Path:
    """Returns the folder of an adapter over ``base`` held in ``kind``."""
    settings = AdapterSettings.model_validate({"rank": 4, "alpha": 4.0, "init": init})
    seer = partial(watch, settings=settings) if init == "loftq" else None
    model = load_model(base, torch.float32, CPU, quantisation=kind, watch=seer)
    adapter: Adapter = inject(model, settings, seed=0)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    save_adapter(adapter, folder, base_model=str(base))
    return folder


def _export(adapter: Path, out: Path, target: str, **changes: Any) -> list[Event]:
    order = ExportOrder.model_validate(
        {"adapter": str(adapter), "out": str(out), "target": target, **changes}
    )
    return list(export.run(order, RunLayout(out), ScriptedControl(RunLayout(out))))


def _notices(events: list[Event]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for event in of_type(events, NoticeRaised):
        found.setdefault(event.code, []).append(event.message)
    return found


@pytest.fixture(scope="module")
def loftq(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _train(base, tmp_path_factory.mktemp("loftq") / "adapter", "nf4", "loftq")


@pytest.mark.parametrize("target", ["merged", "gguf", "ollama", "gguf_lora"])
def test_loftq_is_not_joined_with_the_original_weights(
    target: str, loftq: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        AdapterUnusable, match=r"LoftQ over a base held in 4 bits \(NF4\)"
    ) as caught:
        _export(loftq, tmp_path / "out", target)
    assert "export the adapter alone" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["adapter", "capsule"])
def test_loftq_goes_out_alone_with_the_base_it_needs(
    target: str, loftq: Path, tmp_path: Path
) -> None:
    events = _export(loftq, tmp_path / "out", target)
    assert of_type(events, ExportFinished)[0].is_verified
    (message,) = _notices(events)["export_needs_quantised_base"]
    assert "4 bits (NF4)" in message
    if target == "adapter":
        notes = json.loads((tmp_path / "out" / "certificate.json").read_text())["notes"]
        assert "the base was held in 4 bits (NF4), as in training" in notes


def test_loftq_is_neither_loaded_over_other_weights_nor_mixed(loftq: Path, base: Path) -> None:
    with pytest.raises(AdapterUnusable, match="over any other it answers wrongly"):
        load_adapter(load_model(base, torch.float32, CPU), loftq)
    load_adapter(load_model(base, torch.float32, CPU, quantisation="nf4"), loftq)
    with pytest.raises(AdapterUnusable, match=r"\(LoftQ\).*cannot be mixed"):
        check_blendable([read_adapter(loftq)])


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_what_merging_into_the_original_weights_changes_is_told(
    kind: str, base: Path, tmp_path: Path
) -> None:
    adapter = _train(base, tmp_path / "adapter", kind)
    events = _export(adapter, tmp_path / "out", "merged", prompts=("1+1?",))
    assert of_type(events, ExportFinished)[0].is_verified
    notes = json.loads((tmp_path / "out" / "certificate.json").read_text())["notes"]
    words, number = describe_other_base(kind, 0.0, 0.0).split("0 nats")
    (note,) = [one for one in notes if one.startswith(words)]
    between, rounding = number.removesuffix("0)"), note.rpartition(": ")[2].removesuffix(")")
    assert between in note
    assert f"About the check: {note}." in _notices(events)["export_changed"]
    # Both models' answers to any text differ by about what the note says of the prompts.
    told = float(note.removeprefix(words).split()[0])
    ids = list(range(40, 100))
    logits = []
    for quantisation in ("none", kind):
        model = load_model(base, torch.float32, CPU, quantisation=quantisation)
        load_adapter(model, adapter)
        logits.append(ModelAnswerer(model).compute_logits(ids).log_softmax(-1))
    expected = float((logits[0].exp() * (logits[0] - logits[1])).sum(-1).mean())
    assert expected / 4 < told < expected * 4
    assert abs(float(rounding)) < told / 4  # the weights as training saw them are rounded, no more


def test_an_adapter_of_the_original_weights_has_no_such_note(base: Path, tmp_path: Path) -> None:
    events = _export(_train(base, tmp_path / "adapter", "none"), tmp_path / "out", "merged")
    notes = json.loads((tmp_path / "out" / "certificate.json").read_text())["notes"]
    assert not any("held in" in note for note in notes)
    assert "export_needs_quantised_base" not in _notices(events)
