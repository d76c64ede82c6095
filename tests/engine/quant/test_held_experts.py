"""Stacked experts in few bits compute, and are trained over, as their unfolded weights."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor, nn

from studio.core.memory.model import read_model_folder
from studio.core.memory.weights import count_base_bytes, count_buffer_bytes
from studio.core.recipe.schema import AdapterSettings
from studio.engine.held.experts import ExpertMatrix, QuantisedExperts, is_quantisable_experts
from studio.engine.held.layer import AwayWeights, QuantisedLayer, find_quantisation
from studio.engine.lora.inject import inject
from studio.engine.models.load import load_model
from studio.engine.models.offload_weights import offload_weights
from studio.engine.models.quantised import count_parameters, measure_quantised
from tests.engine.lora.test_families import FAMILIES, SHAPE
from tests.engine.lora.tiny_models import build_batch

CPU = torch.device("cpu")
MOE = ["qwen3_moe", "mixtral", "gpt_oss"]


def _write(folder: Path, family: str, **changes: object) -> Path:
    torch.manual_seed(0)
    sizes = SHAPE | FAMILIES[family] | {"hidden_size": 64, "intermediate_size": 64, "head_dim": 16}
    sizes |= changes
    if family == "qwen3_moe":
        sizes["moe_intermediate_size"] = 32
    config = transformers.AutoConfig.for_model(family, **sizes)
    model = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return folder


def _unfold_experts(model: nn.Module, dense: nn.Module) -> nn.Module:
    """Returns ``dense`` with the values that the weights of ``model`` unfold to."""
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, QuantisedExperts):
                for stack, matrices in module.named_children():
                    if isinstance(matrices, nn.ModuleList):
                        own = getattr(dense.get_submodule(name), stack)
                        for place, matrix in enumerate(matrices):
                            assert isinstance(matrix, ExpertMatrix)
                            weight = matrix.get_held().unfold()
                            own[place] = weight.t() if module.is_transposed else weight
            elif isinstance(module, QuantisedLayer) and not isinstance(module, ExpertMatrix):
                dense.get_submodule(name).weight.copy_(module.get_held().unfold())
    return dense


def _get_gradients(model: nn.Module) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    logits: Tensor = model(input_ids=build_batch(rows=2)).logits
    logits.square().mean().backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    return logits.detach(), {name: grad for name, grad in found.items() if grad is not None}


@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("family", MOE)
@pytest.mark.parametrize("targets", [("q_proj",), ("q_proj", "*.experts.*")])
def test_logits_and_gradients_are_those_of_the_unfolded_experts(
    family: str, kind: str, targets: tuple[str, ...], tmp_path: Path
) -> None:
    folder = _write(tmp_path / "base", family)
    model = load_model(folder, torch.float32, CPU, quantisation=kind)
    dense = _unfold_experts(model, load_model(folder, torch.float32, CPU))
    experts = [m for m in model.modules() if isinstance(m, QuantisedExperts)]
    assert len(experts) == 2
    assert find_quantisation(model) == kind
    for one in (model, dense):
        adapter = inject(one, AdapterSettings(rank=4, alpha=8.0, targets=targets), seed=0)
        numbers = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in adapter.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=numbers))
    logits, gradients = _get_gradients(model)
    expected_logits, expected = _get_gradients(dense)
    torch.testing.assert_close(logits, expected_logits, rtol=1e-5, atol=2e-5)
    assert len(gradients) == len(expected) > 0
    for found, other in zip(gradients.values(), expected.values(), strict=True):
        torch.testing.assert_close(found, other, rtol=1e-4, atol=1e-6)
    stacks = {n: m for n, m in adapter.modules.items() if "experts" in n}
    assert bool(stacks) == (len(targets) == 2)


@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("family", ["qwen3_moe", "mixtral"])
def test_the_ledger_counts_experts_as_they_are_held(family: str, kind: str, tmp_path: Path) -> None:
    folder = _write(tmp_path / "base", family)
    model = load_model(folder, torch.bfloat16, CPU, quantisation=kind)
    dense = load_model(folder, torch.bfloat16, CPU)
    found, anatomy = measure_quantised(model), read_model_folder(folder)
    assert found is not None
    assert count_parameters(model) == sum(p.numel() for p in dense.parameters())
    plain = 2 * (anatomy.layers.parameters - found.weights)
    counted = count_base_bytes(anatomy, kind, 2)
    # every matrix rounds its blocks of scales up, and has an offset
    assert 0 <= found.held_bytes + plain - counted <= 12 * found.layers
    largest = max(math.prod(m.get_held().shape) for m in model.modules()
                  if isinstance(m, QuantisedLayer))  # fmt: skip
    assert count_buffer_bytes(anatomy, kind, 2) == 2 * largest


def test_experts_that_visit_the_device_in_turn_compute_the_same(tmp_path: Path) -> None:
    folder = _write(tmp_path / "base", "qwen3_moe")
    results = []
    for offloads in (False, True):
        model = load_model(folder, torch.float32, CPU, quantisation="nf4")
        inject(model, AdapterSettings(rank=4, alpha=8.0, targets=("q_proj",)), seed=0)
        if offloads:
            offload_weights(model, CPU)
        results.append(_get_gradients(model.train()))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=0, atol=1e-6)
    for name, gradient in results[0][1].items():
        torch.testing.assert_close(results[1][1][name], gradient, rtol=1e-5, atol=1e-7)
    matrices = [m for m in model.modules() if isinstance(m, ExpertMatrix)]
    assert any(isinstance(m.get_held(), AwayWeights) for m in matrices)


def test_experts_that_are_kept_or_compute_something_else_stay_as_they_are(tmp_path: Path) -> None:
    folder = _write(tmp_path / "base", "mixtral")
    model = load_model(folder, torch.float32, CPU, quantisation="nf4", keeps=("*.1.mlp",))
    held = [name for name, m in model.named_modules() if isinstance(m, QuantisedExperts)]
    assert held == ["model.layers.0.mlp.experts"]
    experts = load_model(folder, torch.float32, CPU).get_submodule("model.layers.0.mlp.experts")
    assert is_quantisable_experts("model.layers.0.mlp.experts", experts)
    experts._apply_gate = lambda values: values  # type: ignore[assignment]  # of the wrong width
    assert not is_quantisable_experts("model.layers.0.mlp.experts", experts)
