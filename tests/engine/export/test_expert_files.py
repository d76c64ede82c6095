"""Adapters of experts go out in the layout that the other tool knows, and compute the same."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

from studio.core.errors import AdapterUnusable, ModelUnusable
from studio.core.events.types import ExportFinished, NoticeRaised
from studio.core.jobs.orders import ExportOrder
from studio.core.recipe.schema import AdapterOverride, AdapterSettings
from studio.core.runs.layout import RunLayout
from studio.engine.export.adapter import export_adapter
from studio.engine.export.experts import ConvertedAdapter, find_layouts
from studio.engine.jobs import export
from studio.engine.lora.inject import inject
from studio.engine.lora.state import load_adapter, save_adapter
from studio.engine.lora.stored import read_adapter
from tests.engine.lora.test_families import FAMILIES, SHAPE
from tests.engine.lora.tiny_models import build_batch
from tests.engine.tiny_run import ScriptedControl, build_tokenizer, of_type

MOE = ("qwen3_moe", "mixtral")


def build(family: str, **changes: object) -> nn.Module:
    """Returns a tiny model with experts."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, **(SHAPE | FAMILIES[family] | changes))
    model: nn.Module = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", trust_remote_code=False
    )
    return model.eval()


def write_stacked(family: str, folder: Path, *patterns: str, **changes: Any) -> nn.Module:
    """Writes base and an adapter of stacks below ``folder``; returns both as one model."""
    model = build(family)
    model.save_pretrained(folder / "base")
    targets = patterns or ("q_proj", "*.experts.*")
    settings = AdapterSettings(rank=3, alpha=6.0, targets=targets).model_copy(update=changes)
    adapter = inject(model, settings, seed=0)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    save_adapter(adapter, folder / "stacked", base_model=str(folder / "base"))
    return model


def convert(folder: Path, adapter: str, layout: Any) -> Path:
    """Returns the folder of ``adapter`` in another layout."""
    converted = ConvertedAdapter(read_adapter(folder / adapter), folder / "base", layout)
    target = folder / f"{adapter} as {layout}"
    list(export_adapter(folder / adapter, target, converted))
    return target


def _logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return torch.as_tensor(model(input_ids=build_batch()).logits)


@pytest.mark.referee
@pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::FutureWarning", "ignore::RuntimeWarning"
)
@pytest.mark.parametrize("variant", ["plain", "rslora"])
@pytest.mark.parametrize("family", MOE)
def test_single_and_stacked_experts_answer_alike_here_and_in_peft(
    family: str, variant: str, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    expected = _logits(write_stacked(family, tmp_path, variant=variant))
    single = convert(tmp_path, "stacked", "single")
    back = convert(tmp_path, single.name, "stacked")
    plain = build(family)
    assert (_logits(plain) - expected).abs().max() > 1e-3
    for folder in (single, back):
        own = copy.deepcopy(plain)
        load_adapter(own, folder)
        torch.testing.assert_close(_logits(own), expected, rtol=1e-5, atol=1e-5)
        if variant == "rslora" and folder == single:
            continue  # peft joins gate and up at twice the rank and forgets the root in the scaling
        theirs = peft.PeftModel.from_pretrained(copy.deepcopy(plain), folder).eval()
        torch.testing.assert_close(_logits(theirs), expected, rtol=1e-5, atol=1e-5)
    first, last = (load_file(path / "adapter_model.safetensors") for path in
                   (tmp_path / "stacked", back))  # fmt: skip
    assert set(first) == set(last)
    assert all(torch.equal(first[name], last[name]) for name in first)


class _Listed(nn.Module):
    """Experts as earlier model code held them: a list of modules with three projections."""

    def __init__(self, stacked: Any) -> None:
        super().__init__()
        self.act_fn = stacked.act_fn
        for expert in range(stacked.num_experts):
            own = nn.Module()
            gate, up = stacked.gate_up_proj[expert].detach().chunk(2)
            weights = {"gate_proj": gate, "up_proj": up, "down_proj": stacked.down_proj[expert]}
            for name, weight in weights.items():
                layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
                layer.weight = nn.Parameter(weight.detach().clone())
                own.add_module(name, layer)
            self.add_module(str(expert), own)

    def forward(self, hidden: torch.Tensor, index: torch.Tensor, weights: torch.Tensor) -> Any:
        total = torch.zeros_like(hidden)
        for number, own in self.named_children():
            if number.isdigit():
                rows, places = torch.where(index == int(number))
                inner = self.act_fn(own.gate_proj(hidden[rows])) * own.up_proj(hidden[rows])
                part = own.down_proj(inner) * weights[rows, places, None]
                total = total.index_add(0, rows, part)
        return total


@pytest.mark.referee
@pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::FutureWarning", "ignore::RuntimeWarning"
)
def test_a_model_with_a_list_of_experts_takes_the_single_ones(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    override = AdapterOverride(match="*.1.mlp.experts.*", rank=2, alpha=7.0)
    expected = _logits(write_stacked("qwen3_moe", tmp_path, overrides=(override,)))
    single = convert(tmp_path, "stacked", "single")
    listed = build("qwen3_moe")
    listed.config.model_type = "unknown"  # so that peft converts nothing by itself
    for layer in listed.model.layers:
        layer.mlp.experts = _Listed(layer.mlp.experts)
    theirs = peft.PeftModel.from_pretrained(listed, single).eval()
    torch.testing.assert_close(_logits(theirs), expected, rtol=1e-5, atol=1e-5)
    names = {name for name, _ in theirs.named_parameters() if "lora_" in name}
    assert len(names) == 2 * (2 + 2 * 4 * 3)  # A and B of q_proj and of 3 parts of 4 experts


def test_one_projection_alone_and_halves_are_split_too(tmp_path: Path) -> None:
    expected = _logits(write_stacked("qwen3_moe", tmp_path, "*.experts.gate_up_proj"))
    path = tmp_path / "stacked" / "adapter_model.safetensors"
    halves = {name: tensor.bfloat16() for name, tensor in load_file(path).items()}
    single = convert(tmp_path, "stacked", "single")
    model = build("qwen3_moe")
    load_adapter(model, single)
    torch.testing.assert_close(_logits(model), expected, rtol=1e-5, atol=1e-5)
    config = json.loads((single / "adapter_config.json").read_text())
    assert config["target_modules"] == ["gate_proj", "up_proj"]
    assert config["target_parameters"] is None
    save_file(halves, path)
    again = convert(tmp_path, "stacked", "stacked")
    assert (again / "adapter_model.safetensors").stat().st_size < path.stat().st_size * 1.2
    shrunk = tmp_path / "other"
    (tmp_path / "stacked").rename(shrunk)
    found = load_file(convert(tmp_path, "other", "single") / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in found.values()} == {torch.bfloat16}


def test_the_job_says_the_layout_and_checks_it(tmp_path: Path) -> None:
    write_stacked("qwen3_moe", tmp_path)
    build("qwen3_moe", vocab_size=300, eos_token_id=256).save_pretrained(tmp_path / "base")
    build_tokenizer().save_pretrained(tmp_path / "base")
    order = ExportOrder(
        adapter=str(tmp_path / "stacked"), target="adapter", out=str(tmp_path / "out"),
        experts="single",
    )  # fmt: skip
    events = list(export.run(order, RunLayout(tmp_path), ScriptedControl(RunLayout(tmp_path))))
    (finished,) = of_type(events, ExportFinished)
    assert finished.is_verified, finished.reasons
    told = [notice.message for notice in of_type(events, NoticeRaised)]
    assert any("were written one by one" in message for message in told)


def test_what_has_no_other_layout_is_refused(tmp_path: Path) -> None:
    write_stacked("qwen3_moe", tmp_path, "q_proj")
    with pytest.raises(AdapterUnusable, match="changes no experts"):
        convert(tmp_path, "stacked", "single")
    write_stacked("gpt_oss", tmp_path / "gpt")
    with pytest.raises(ModelUnusable, match="in one stack"):
        convert(tmp_path / "gpt", "stacked", "single")


def test_the_layouts_that_can_be_written_are_found(tmp_path: Path) -> None:
    write_stacked("qwen3_moe", tmp_path)
    base = tmp_path / "base"
    assert find_layouts(read_adapter(tmp_path / "stacked"), base) == ("stacked", "single")
    single = convert(tmp_path, "stacked", "single")
    assert find_layouts(read_adapter(single), base) == ("stacked", "single")
    write_stacked("qwen3_moe", tmp_path / "attention", "q_proj")
    assert find_layouts(read_adapter(tmp_path / "attention" / "stacked"), base) == ()
