"""Pruned base models have the zeros of torch's own pruning, learn, and stay sparse when merged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import prune as torch_prune

from studio.core.errors import FileUnusable, RecipeInvalid
from studio.core.events.types import ExportFinished, NoticeRaised, PruneFinished, StepFinished
from studio.core.jobs.orders import ExportOrder, PruneOrder
from studio.engine.jobs import export, prune
from studio.engine.prune import get_pattern
from studio.engine.prune.folder import prune_model
from tests.engine.tiny_run import (
    ScriptedControl,
    build_base,
    build_run,
    of_type,
    train_run,
    write_order,
)


def _prune(base: Path, out: Path, pattern: str, sparsity: float = 0.5) -> dict[str, torch.Tensor]:
    for _ in prune_model(base, out, pattern, sparsity):
        pass
    return load_file(out / "model.safetensors")


@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.9])
def test_each_output_loses_its_smallest_weights_as_in_torch(sparsity: float) -> None:
    weight = torch.randn(5, 40, generator=torch.Generator().manual_seed(0))
    kept = get_pattern("magnitude").find_kept(weight, sparsity)
    for own, row in zip(kept, weight, strict=True):
        layer = nn.Linear(40, 1, bias=False)
        layer.weight.data = row[None].clone()
        torch_prune.l1_unstructured(layer, "weight", amount=sparsity)
        assert torch.equal(own, layer.weight_mask[0].bool())


def test_two_of_each_four_neighbours_stay_and_they_are_the_largest() -> None:
    weight = torch.randn(6, 32, generator=torch.Generator().manual_seed(1))
    groups = (weight * get_pattern("two_four").find_kept(weight, 0.5)).reshape(-1, 4)
    assert ((groups != 0).sum(1) == 2).all()
    best = weight.reshape(-1, 4).abs().topk(2, dim=1).values.sum(1)
    torch.testing.assert_close(groups.abs().sum(1), best)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("pattern", ["magnitude", "two_four"])
def test_half_of_the_linear_layers_is_zero_and_nothing_else_is_touched(
    pattern: str, family: str, tmp_path: Path
) -> None:
    base = build_base(tmp_path / "base", family)
    before = load_file(base / "model.safetensors")
    after = _prune(base, tmp_path / "sparse", pattern)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "sparse")
    linear = {
        name
        for name, module in model.named_modules()
        if type(module).__name__ in ("Linear", "Conv1D") and name != "lm_head"
    }
    for name, values in after.items():
        module = next((one for one in linear if f"{one}.weight".endswith(name)), None)
        if module is None:
            assert torch.equal(values, before[name])
            continue
        assert torch.equal(values[values != 0], before[name][values != 0])
        outputs = values if family == "llama" else values.t()
        assert ((outputs == 0).sum(1) == outputs.shape[1] // 2).all(), name
    assert (tmp_path / "sparse" / "tokenizer.json").is_file()


def test_wishes_that_do_not_fit_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    base = build_base(tmp_path / "base")
    with pytest.raises(RecipeInvalid, match=r"0\.5"):
        _prune(base, tmp_path / "sparse", "two_four", 0.7)
    assert not (tmp_path / "sparse").exists()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("keep")
    with pytest.raises(FileUnusable):
        _prune(base, tmp_path / "taken", "magnitude")
    with pytest.raises(RecipeInvalid, match="four"):
        get_pattern("two_four").find_kept(torch.ones(2, 6), 0.5)


def test_an_adapter_trained_on_a_sparse_base_is_merged_without_touching_its_zeros(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    layout = build_run(tmp_path / "job", tiny_base, tiny_chats)
    order = PruneOrder(base=str(tiny_base), out=str(tmp_path / "sparse"))
    events = list(prune.run(order, layout, ScriptedControl(layout)))
    (pruned,) = of_type(events, PruneFinished)
    assert pruned.zeros == pruned.weights / 2
    run = build_run(tmp_path / "run", tmp_path / "sparse", tiny_chats, steps=8)
    losses = [event.loss for event in of_type(train_run(run), StepFinished)]
    assert losses[-1] < losses[0]
    sparse = load_file(tmp_path / "sparse" / "model.safetensors")
    merged = {}
    for keeps_zeros in (False, True):
        out = tmp_path / f"merged {keeps_zeros}"
        wish = ExportOrder(
            adapter=str(run.adapter), target="merged", out=str(out), keeps_zeros=keeps_zeros
        )
        write_order(layout, wish)
        told = list(export.run(wish, layout, ScriptedControl(layout)))
        assert of_type(told, ExportFinished)[0].is_verified
        notes = [e for e in of_type(told, NoticeRaised) if e.code == "export_changed"]
        assert len(notes) == keeps_zeros
        merged[keeps_zeros] = load_file(out / "model.safetensors")
    stated = json.loads((tmp_path / "merged True" / "certificate.json").read_text())["notes"]
    assert "nats per token" in stated[0]
    for name, values in sparse.items():
        zeros = values == 0
        expected = merged[False][name].masked_fill(zeros, 0.0) if zeros.any() else values
        torch.testing.assert_close(merged[True][name], expected, rtol=0, atol=0)
        if name.endswith("q_proj.weight"):
            assert (merged[False][name][zeros] != 0).any()


def test_a_training_that_keeps_zeros_loses_nothing_when_merged_and_says_so(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    sparse = _prune(tiny_base, tmp_path / "sparse", "two_four")
    hint = train_run(build_run(tmp_path / "plain", tmp_path / "sparse", tiny_chats, steps=1))
    assert "base_is_pruned" in {event.code for event in of_type(hint, NoticeRaised)}
    keeps = {"keep_zeros": True}
    layout = build_run(tmp_path / "run", tmp_path / "sparse", tiny_chats, steps=8, adapter=keeps)
    events = train_run(layout)
    losses = [event.loss for event in of_type(events, StepFinished)]
    assert losses[-1] < losses[0]
    (told,) = [e.message for e in of_type(events, NoticeRaised) if e.code == "zeros_kept"]
    assert "14 of 14 adapted layers (50 % of their weights)" in told
    out = tmp_path / "merged"
    order = ExportOrder(adapter=str(layout.adapter), target="merged", out=str(out))
    job = build_run(tmp_path / "job", tmp_path / "sparse", tiny_chats)
    done = list(export.run(order, job, ScriptedControl(job)))
    assert of_type(done, ExportFinished)[0].is_verified
    certificate = json.loads((out / "certificate.json").read_text())
    assert certificate["mean_divergence"] < 1e-6
    merged = load_file(out / "model.safetensors")
    for name, values in sparse.items():
        assert torch.equal(merged[name] == 0, values == 0)
    dense = train_run(build_run(tmp_path / "dense", tiny_base, tiny_chats, steps=1, adapter=keeps))
    assert "no_zeros" in {event.code for event in of_type(dense, NoticeRaised)}
