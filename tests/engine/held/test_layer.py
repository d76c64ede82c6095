"""Layers in few bits compute and pass back what the same layers in full size do."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.pytorch_utils import Conv1D

from studio.core.recipe.schema import AdapterSettings
from studio.engine.held.layer import QuantisedLayer, find_quantisation
from studio.engine.lora.adapter import build_adapted
from studio.engine.lora.extra import TrainedModule
from studio.engine.lora.inject import inject
from studio.engine.models.quantised import Quantising, count_parameters
from studio.engine.quant import get_quantise, hold
from tests.engine.lora.tiny_models import build_batch, build_model
from tests.engine.quant.tiny_quantised import build_pair

KINDS = ["nf4", "int8"]
WIDE = {"hidden_size": 64, "intermediate_size": 96}


def _build(kind: str, form: str = "linear") -> tuple[QuantisedLayer, nn.Module]:
    torch.manual_seed(0)
    module = nn.Linear(40, 24) if form == "linear" else Conv1D(24, 40)
    nn.init.normal_(module.bias)
    module.requires_grad_(False)
    layer = Quantising(kind, get_quantise(kind), torch.float32, torch.device("cpu")).build(
        copy.deepcopy(module)
    )
    layer.weight = module.weight
    weight = hold(layer).get_weight()
    module.weight.data = weight if form == "linear" else weight.t().contiguous()
    return layer, module


@pytest.mark.parametrize("form", ["linear", "conv1d"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_equals_the_one_with_the_unfolded_weights(kind: str, form: str) -> None:
    layer, dense = _build(kind, form)
    assert isinstance(layer, type(dense))
    rows = torch.randn(2, 3, 40, requires_grad=True)
    twin = rows.detach().clone().requires_grad_()
    found, expected = layer(rows), dense(twin)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(found)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(rows.grad, twin.grad)
    frozen = hold(layer)
    assert (frozen.in_features, frozen.out_features) == (40, 24)


@pytest.mark.parametrize("variant", ["plain", "dora"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_an_adapter_equal_those_over_the_unfolded_weights(
    kind: str, variant: str
) -> None:
    layer, dense = _build(kind)
    grads = []
    for base in (layer, dense):
        torch.manual_seed(1)
        module = build_adapted(base, "linear", rank=3, alpha=6.0, dropout=0.3, variant=variant)
        nn.init.normal_(module.lora_A)
        nn.init.normal_(module.lora_B)
        module.set_magnitude()
        rows = torch.randn(5, 40, requires_grad=True)
        module.train()(rows).square().sum().backward()
        grads.append([rows.grad, *(one.grad for _, one in module.iter_trainable())])
    for found, expected in zip(*grads, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_size_of_a_weight_is_kept_for_the_backward_pass(kind: str) -> None:
    layer, _ = _build(kind)
    adapted = build_adapted(layer, "linear", rank=2, alpha=4.0)
    kept: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        layer(torch.randn(2, 40, requires_grad=True))
        assert kept == []
        adapted(torch.randn(2, 40, requires_grad=True))
    assert max(kept) < 24 * 40 / 4


@pytest.mark.parametrize("kind", KINDS)
def test_the_compute_format_is_the_models_or_autocasts(kind: str) -> None:
    layer, _ = _build(kind)
    rows = torch.randn(3, 40)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(rows).dtype == torch.bfloat16
    layer.compute_dtype = torch.bfloat16
    half = layer(rows.bfloat16())
    assert half.dtype == torch.bfloat16
    numbers = (rows, hold(layer).get_weight(), layer.bias)
    expected = nn.functional.linear(*(one.bfloat16() for one in numbers))
    torch.testing.assert_close(half, expected)


def test_scales_keep_their_format_and_follow_the_layer() -> None:
    layer, _ = _build("int8")
    before = hold(layer).get_weight()
    layer.to(torch.bfloat16)
    assert layer.bias.dtype == torch.bfloat16
    assert torch.equal(hold(layer).get_weight(), before)
    layer.to("meta")
    assert layer.get_held().codes.device.type == "meta"


def test_a_layer_without_weights_says_so() -> None:
    empty = Quantising("nf4", get_quantise("nf4"), torch.float32, torch.device("cpu")).build(
        nn.Linear(16, 16)
    )
    assert empty.weight.device.type == "meta"
    with pytest.raises(LookupError, match="no weights yet"):
        empty.get_held()


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3", "phi", "gpt_neox", "gpt2"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_family_trains_as_over_unfolded_weights(family: str, kind: str) -> None:
    """Adapters on the attention alone, so that gradients pass plain quantised layers as well."""
    sizes = {"n_embd": 64} if family == "gpt2" else WIDE
    quantised, dense = build_pair(build_model(family, **sizes), kind)
    assert find_quantisation(quantised) == kind
    assert count_parameters(quantised) == sum(one.numel() for one in dense.parameters())
    ids = build_batch(rows=2)
    results = []
    for model in (quantised, dense):
        adapter = inject(model, AdapterSettings(rank=4, alpha=8.0, targets="attention"), seed=3)
        with torch.no_grad():
            for parameter in adapter.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=_seeded()) * 0.1)
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        results.append([loss.detach(), *(one.grad for one in adapter.parameters())])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_recomputing_a_quantised_layer_changes_nothing() -> None:
    layer, _ = _build("nf4")
    adapted = build_adapted(layer, "linear", rank=2, alpha=4.0)
    nn.init.normal_(adapted.lora_B)
    gradients = []
    for again in (False, True):
        rows = torch.ones(3, 40, requires_grad=True)
        output = checkpoint(adapted, rows, use_reentrant=False) if again else adapted(rows)
        output.sum().backward()
        gradients.append((rows.grad, adapted.lora_A.grad))
        adapted.zero_grad()
    for found, expected in zip(*gradients, strict=True):
        assert torch.equal(found, expected)


def test_a_module_trained_in_full_is_in_full_size() -> None:
    layer, dense = _build("nf4")
    trained = TrainedModule(layer)
    rows = torch.randn(2, 40)
    torch.testing.assert_close(trained(rows), dense(rows))
    names = [name for name, _ in trained.iter_trainable()]
    assert names == ["weight", "bias"]
    assert trained.trained.weight.shape == (24, 40)
    whole = TrainedModule(nn.Sequential(layer, nn.ReLU()))
    torch.testing.assert_close(whole(rows), dense(rows).relu())
    trained.is_enabled = False
    torch.testing.assert_close(trained(rows), dense(rows))


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(7)
