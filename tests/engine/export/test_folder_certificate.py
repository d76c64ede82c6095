"""The certificate of a model folder passes what is right and names each planted fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.core.events.types import ExportFinished, NoticeRaised
from studio.core.events.writer import EventWriter
from studio.core.jobs.orders import ExportOrder
from studio.core.runs.exporting import read_export_details
from studio.core.runs.layout import RunLayout
from studio.engine.export.certificate import Certificate, find_difference
from studio.engine.export.certify import Exported, certify
from studio.engine.jobs import export
from tests.engine.tiny_run import ScriptedControl, build_base, build_run, of_type, train_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_chats: Path) -> RunLayout:
    layout = build_run(
        tmp_path_factory.mktemp("runs") / "sums",
        tiny_base,
        tiny_chats,
        steps=15,
        sample_prompts=["1+1?"],
    )
    with EventWriter(layout.events) as writer:
        for event in train_run(layout):
            writer.write(event)
    return layout


def write(run: RunLayout, out: Path, base: Path, **changes: Any) -> tuple[Exported, list[Any]]:
    details = {"target": "merged", **read_export_details(run.adapter), **changes}
    order = ExportOrder.model_validate({"adapter": str(run.adapter), "out": str(out), **details})
    events = list(export.run(order, RunLayout(out), ScriptedControl(RunLayout(out))))
    (finished,) = of_type(events, ExportFinished)
    files = tuple(name for name in finished.files if name not in ("README.md", "certificate.json"))
    return Exported(order, base, out, files), events


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory, run: RunLayout, tiny_base: Path
) -> tuple[Exported, Certificate]:
    found, _ = write(run, tmp_path_factory.mktemp("exports") / "out", tiny_base)
    return found, certify(found, lambda: None)


def plant(exported: Exported, folder: Path, fault: Callable[[Path], object]) -> Certificate:
    """Copies an export, breaks the copy and certifies it."""
    copy = folder / "copy"
    copy.mkdir()
    for name in exported.files:
        (copy / name).write_bytes((exported.folder / name).read_bytes())
    fault(copy)
    return certify(Exported(exported.order, exported.base, copy, exported.files), lambda: None)


def test_the_questions_are_rows_that_the_run_held_back(
    exported: tuple[Exported, Certificate],
) -> None:
    _, certificate = exported
    assert certificate.reasons == ()
    names = [verdict.prompt for verdict in certificate.verdicts]
    assert [name.startswith("held-out row") for name in names] == [True] * 4 + [False] * 4
    assert names[4] == "1+1?"
    assert certificate.prompts == (
        "held-out rows of the run (4), prompts of the recipe (1), general prompts (3)"
    )
    inputs = certificate.inputs
    assert {"adapter_model.safetensors", "adapter_config.json", "recipe.yaml", "manifest.json"} <= (
        set(inputs["adapter"])
    )
    assert {"model.safetensors", "tokenizer.json"} <= set(inputs["base"])
    assert len(inputs["prompts"]) == 8


def _edit_json(path: Path, **values: object) -> None:
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps({**content, **values}), encoding="utf-8")


def _write_template(folder: Path) -> None:
    text = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
    (folder / "chat_template.jinja").write_text(text)


def _edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _swap_rows(tensors: dict[str, torch.Tensor]) -> None:
    tensor = tensors["model.layers.1.mlp.up_proj.weight"]
    tensor[[0, 1]] = tensor[[1, 0]]


def _round_to_four_bits(tensors: dict[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.ndim == 2:
            scale = tensor.abs().amax(dim=1, keepdim=True) / 7
            tensors[name] = (tensor / scale).round().clamp(-8, 7) * scale


def test_a_wrong_template_is_named_with_the_tokens(
    exported: tuple[Exported, Certificate], tmp_path: Path
) -> None:
    certificate = plant(exported[0], tmp_path, _write_template)
    assert any("other tokens than in training" in reason for reason in certificate.reasons)
    difference = certificate.verdicts[4].difference
    assert difference is not None
    assert difference.position == 0
    assert difference.expected != difference.found


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda f: _edit_json(f / "generation_config.json", eos_token_id=3), "would not stop"),
        (lambda f: _edit_weights(f, _swap_rows), "model.layers.1.mlp.up_proj.weight"),
        (lambda f: _edit_weights(f, lambda t: t["model.norm.weight"][0].add_(1e-3)), "model.norm"),
        (lambda f: _edit_weights(f, _round_to_four_bits), "more than rounding to f32 explains"),
    ],
    ids=["missing stop", "rows swapped", "one number off", "4-bit merge"],
)  # fmt: skip
def test_a_planted_fault_is_named(
    fault: Callable[[Path], object],
    words: str,
    exported: tuple[Exported, Certificate],
    tmp_path: Path,
) -> None:
    certificate = plant(exported[0], tmp_path, fault)
    assert any(words in reason for reason in certificate.reasons), certificate.reasons


def test_an_end_that_the_base_does_not_know_is_added_and_said(
    run: RunLayout, tiny_chats: Path, tmp_path: Path
) -> None:
    base = build_base(tmp_path / "base", eos_token_id=7)
    layout = build_run(tmp_path / "sums", base, tiny_chats, steps=1)
    train_run(layout)
    exported, events = write(layout, tmp_path / "out", base)
    told = [notice.message for notice in of_type(events, NoticeRaised)]
    assert any("<end> too" in message for message in told)
    settings = json.loads((exported.folder / "generation_config.json").read_text())
    assert settings["eos_token_id"] == [7, 256]
    assert of_type(events, ExportFinished)[0].is_verified


def test_the_template_of_the_training_goes_along(
    run: RunLayout, tiny_base: Path, tmp_path: Path
) -> None:
    template = tmp_path / "own.jinja"
    template.write_text(
        "{% for m in messages %}{{ '#' + m['role'] + ':' + m['content'] + '<end>' }}{% endfor %}"
        "{% if add_generation_prompt %}#assistant:{% endif %}"
    )
    exported, events = write(run, tmp_path / "out", tiny_base, template=str(template))
    assert (exported.folder / "chat_template.jinja").read_text() == template.read_text()
    assert of_type(events, ExportFinished)[0].is_verified
    assert any("chat template" in notice.message for notice in of_type(events, NoticeRaised))


def test_differences_are_found_where_they_begin() -> None:
    assert find_difference([1, 2, 3], [1, 2, 3]) is None
    difference = find_difference([1, 2, 3], [1, 9, 3, 4])
    assert difference is not None
    assert (difference.position, difference.expected, difference.found) == (1, (2, 3), (9, 3, 4))
    longer = find_difference([1], [1, 2])
    assert longer is not None
    assert (longer.position, longer.expected, longer.found) == (1, (), (2,))
