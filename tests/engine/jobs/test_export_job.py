"""An export writes what its order says, and files that are not proven are not called verified."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from studio.core.errors import FileUnusable, ModelUnusable
from studio.core.events.types import (
    Event,
    ExportFinished,
    ExportProgressed,
    NoticeRaised,
    RunFinished,
    RunStopped,
)
from studio.core.jobs.orders import ExportOrder, Stop
from studio.core.runs.layout import RunLayout
from studio.engine.export import answers, certify
from studio.engine.jobs import export
from studio.engine.lora.state import load_adapter
from studio.engine.models.load import load_model
from tests.engine.tiny_run import ScriptedControl, listen, of_type

CPU = torch.device("cpu")


def _export(order: ExportOrder, control: ScriptedControl) -> list[Event]:
    return list(listen(export.run(order, RunLayout(Path(order.out)), control), control))


@pytest.mark.parametrize("target", ["adapter", "merged"])
def test_an_export_is_loaded_again_and_compared(
    target: str, tmp_path: Path, tiny_base: Path, adapter: Path
) -> None:
    order = ExportOrder.model_validate(
        {"adapter": str(adapter), "target": target, "out": str(tmp_path / "out")}
    )
    events = _export(order, ScriptedControl(RunLayout(tmp_path)))
    (finished,) = of_type(events, ExportFinished)
    assert finished.is_verified
    assert set(finished.files) == {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")
    }
    assert isinstance(events[-1], RunFinished)
    ids = torch.randint(0, 200, (1, 20))
    expected = load_model(tiny_base, torch.float32, CPU)
    load_adapter(expected, adapter)
    found = load_model(tiny_base, torch.float32, CPU)
    if target == "merged":
        found = transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path / "out", trust_remote_code=False
        )
    else:
        load_adapter(found, tmp_path / "out")
    torch.testing.assert_close(
        found.eval()(ids).logits, expected.eval()(ids).logits, rtol=1e-4, atol=1e-5
    )


def test_what_the_tool_would_refuse_is_said_before_the_export(
    tmp_path: Path, tiny_base: Path, adapter: Path
) -> None:
    order = ExportOrder(
        adapter=str(adapter), target="adapter", out=str(tmp_path / "out"), tool="ollama"
    )
    events = _export(order, ScriptedControl(RunLayout(tmp_path)))
    (notice,) = of_type(events, NoticeRaised)
    assert notice.code == "export_adapter"
    assert "Export for Ollama" in notice.remedy
    assert events.index(notice) < events.index(of_type(events, ExportProgressed)[0])


def test_a_certificate_lies_beside_the_files(
    tmp_path: Path, tiny_base: Path, adapter: Path
) -> None:
    order = ExportOrder(
        adapter=str(adapter), target="ollama", out=str(tmp_path / "out"), quant="q4_0", name="tone"
    )
    (finished,) = of_type(_export(order, ScriptedControl(RunLayout(tmp_path))), ExportFinished)
    assert finished.is_verified
    assert finished.reasons == ()
    named = {"tone-Q4_0.gguf", "Modelfile", "certificate.json", "README.md"}
    assert set(finished.files) == named
    assert finished.certificate == str(tmp_path / "out" / "certificate.json")
    assert finished.mean_divergence is not None


def test_files_whose_check_breaks_off_are_marked_as_failed(
    tmp_path: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(*_: object) -> None:
        raise IndexError("index out of range in self")

    monkeypatch.setattr(certify, "choose_prompts", break_off)
    order = ExportOrder(adapter=str(adapter), target="adapter", out=str(tmp_path / "out"))
    with pytest.raises(IndexError):
        _export(order, ScriptedControl(RunLayout(tmp_path)))
    content = json.loads((tmp_path / "out" / "certificate.json").read_bytes())
    assert content["verified"] is False
    assert "index out of range" in content["reasons"][0]
    assert set(content["files"]) == {"adapter_config.json", "adapter_model.safetensors"}


def test_files_that_answer_differently_are_not_called_verified(
    tmp_path: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = answers.load_model

    def load_damaged(folder: Path, dtype: torch.dtype, device: torch.device, **wishes: Any):
        if folder == tmp_path / "out":
            weights = load_file(folder / "model.safetensors")
            name = next(name for name in weights if name.endswith("down_proj.weight"))
            weights[name] += 0.1
            save_file(weights, folder / "model.safetensors", {"format": "pt"})
        return load(folder, dtype, device, **wishes)

    monkeypatch.setattr(answers, "load_model", load_damaged)
    order = ExportOrder(adapter=str(adapter), target="merged", out=str(tmp_path / "out"))
    events = _export(order, ScriptedControl(RunLayout(tmp_path)))
    (finished,) = of_type(events, ExportFinished)
    assert not finished.is_verified
    assert of_type(events, NoticeRaised)[0].code == "export_differs"


def test_a_stopped_export_leaves_nothing_behind(tmp_path: Path, adapter: Path) -> None:
    control = ScriptedControl(RunLayout(tmp_path))
    control.at(lambda events: len(events) >= 2, Stop())
    order = ExportOrder(adapter=str(adapter), target="merged", out=str(tmp_path / "out"))
    events = _export(order, control)
    assert events[-1] == RunStopped(step=0)
    assert list(tmp_path.iterdir()) == []


def test_an_export_without_a_usable_base_or_place_is_refused(
    tmp_path: Path, tiny_base: Path, adapter: Path
) -> None:
    order = ExportOrder(adapter=str(adapter), target="merged", out=str(tmp_path / "out"))
    nowhere = order.model_copy(update={"base": str(tmp_path / "nowhere")})
    with pytest.raises(ModelUnusable):
        _export(nowhere, ScriptedControl(RunLayout(tmp_path)))
    taken = order.model_copy(update={"out": str(shutil.copytree(tiny_base, tmp_path / "taken"))})
    with pytest.raises(FileUnusable):
        _export(taken, ScriptedControl(RunLayout(tmp_path)))
