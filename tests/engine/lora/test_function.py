"""The autograd function of adapted linear layers is exact, lean and steady."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode
from transformers.pytorch_utils import Conv1D

from studio.engine.lora.adapter import build_adapted
from studio.engine.lora.function import adapted_linear
from studio.engine.lora.linear import AdaptedLinear
from studio.engine.quant import hold


def _build(kind: str = "linear", dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    base = nn.Linear(5, 7) if kind == "linear" else Conv1D(7, 5)
    nn.init.normal_(base.bias)
    return base.to(dtype).requires_grad_(False)


def _draw(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


def _adapt(base: nn.Module, dropout: float = 0.0, rank: int = 3) -> AdaptedLinear:
    kind = "linear" if isinstance(base, nn.Linear) else "conv1d"
    module = build_adapted(base, kind, rank=rank, alpha=6.0, dropout=dropout)
    assert isinstance(module, AdaptedLinear)
    for parameter in (module.lora_A, module.lora_B):
        nn.init.normal_(parameter)
    return module.train()


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 3, 5), (0, 5)])
def test_gradients_pass_gradcheck(kind: str, dropout: float, shape: tuple[int, ...]) -> None:
    frozen = hold(_build(kind))

    def compute(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return adapted_linear(x, frozen, a, b, 1.7, dropout=dropout, dropout_seed=11)

    assert torch.autograd.gradcheck(compute, (_draw(*shape), _draw(3, 5), _draw(7, 3)))


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_the_value_is_the_formula_of_the_paper(kind: str) -> None:
    base = _build(kind)
    x, a, b = _draw(4, 5), _draw(3, 5), _draw(7, 3)
    weight = base.weight if kind == "linear" else base.weight.t()
    expected = x @ weight.t() + base.bias + 1.7 * x @ a.t() @ b.t()
    torch.testing.assert_close(adapted_linear(x, hold(base), a, b, 1.7), expected)


def test_the_first_layer_computes_no_gradient_of_its_input() -> None:
    frozen, x = hold(_build()), _draw(4, 5).detach()
    a, b = _draw(3, 5), _draw(7, 3)
    with FlopCounterMode(display=False) as forward:
        output = adapted_linear(x, frozen, a, b, 1.0)
    with FlopCounterMode(display=False) as backward:
        output.sum().backward()
    rows, wide, low = 4, 5 * 7, 3 * (5 + 7)
    assert forward.get_total_flops() == 2 * rows * (wide + low)
    # dA and dB, and the small product g B that dA needs; nothing of the size of W
    assert backward.get_total_flops() == 2 * rows * (low + 3 * 7)


def test_a_layer_executes_the_floor_of_four_n_and_six_p() -> None:
    frozen, x = hold(_build()), _draw(4, 5)
    with FlopCounterMode(display=False) as counter:
        adapted_linear(x, frozen, _draw(3, 5), _draw(7, 3), 1.0).sum().backward()
    assert counter.get_total_flops() == 4 * (4 * 5 * 7 + 6 * 3 * (5 + 7))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_kept_for_backward_are_the_input_and_the_small_projection_only(dropout: float) -> None:
    module = _adapt(_build(dtype=torch.float32), dropout)
    x = torch.randn(2, 6, 5, requires_grad=True)
    kept: list[torch.Tensor] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        module(x)
    own = {module.lora_A.data_ptr(), module.lora_B.data_ptr()}
    others = [tensor for tensor in kept if tensor.data_ptr() not in own]
    assert sorted(tensor.numel() for tensor in others) == [2 * 6 * 3, 2 * 6 * 5]
    assert x.data_ptr() in {tensor.data_ptr() for tensor in others}  # the input itself, no copy


def test_using_a_layer_twice_adds_up_its_gradients() -> None:
    module = _adapt(_build(dtype=torch.float32))
    back = nn.Linear(7, 5).requires_grad_(False)
    x = torch.randn(4, 5, requires_grad=True)
    module(torch.tanh(back(module(x)))).square().sum().backward()
    found = [module.lora_A.grad, module.lora_B.grad, x.grad]

    a, b = (p.detach().clone().requires_grad_() for p in (module.lora_A, module.lora_B))
    y = x.detach().clone().requires_grad_()

    def plain(z: torch.Tensor) -> torch.Tensor:
        return module.base(z) + module.scaling * z @ a.t() @ b.t()

    plain(torch.tanh(back(plain(y)))).square().sum().backward()
    for ours, theirs in zip(found, [a.grad, b.grad, y.grad], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_checkpointing_changes_nothing(dropout: float, use_reentrant: bool) -> None:
    module = _adapt(_build(dtype=torch.float32), dropout)
    x = torch.randn(4, 5, requires_grad=True)
    results = []
    for is_recomputed in (False, True):
        torch.manual_seed(3)
        y = checkpoint(module, x, use_reentrant=use_reentrant) if is_recomputed else module(x)
        torch.rand(7)  # the generator has moved on when backward computes the layer again
        grads = (
            torch.autograd.grad(y.square().sum(), [x, module.lora_A, module.lora_B])
            if not use_reentrant
            else _backward(y, x, module)
        )
        results.append((y.detach(), *grads))
    for kept, recomputed in zip(*results, strict=True):
        assert torch.equal(kept, recomputed)


def _backward(y: torch.Tensor, x: torch.Tensor, module: AdaptedLinear) -> list[torch.Tensor]:
    leaves = [x, module.lora_A, module.lora_B]
    for leaf in leaves:
        leaf.grad = None
    y.square().sum().backward()
    return [leaf.grad.clone() for leaf in leaves]


def test_dropout_hides_the_wished_share_and_keeps_the_mean() -> None:
    base = nn.Linear(64, 64, bias=False).requires_grad_(False)
    module = build_adapted(base, "linear", rank=64, alpha=64.0, dropout=0.25).train()
    with torch.no_grad():
        module.lora_A.copy_(torch.eye(64))
        module.lora_B.copy_(torch.eye(64))
    torch.manual_seed(0)
    x = torch.ones(2000, 64)
    seen = (module(x) - base(x)).detach()
    hidden = (seen.abs() < 1e-3).double().mean()
    assert float(hidden) == pytest.approx(0.25, abs=0.01)
    assert float(seen[seen.abs() > 1e-3].mean()) == pytest.approx(1 / 0.75, rel=1e-4)
    assert not torch.equal(module(x), module(x))
    torch.testing.assert_close(module.eval()(x) - base(x), x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("is_autocast", [False, True])
@pytest.mark.parametrize("rows", [32, 700])
def test_float32_adapters_over_16_bit_bases_are_right_to_rounding(
    rows: int, dtype: torch.dtype, is_autocast: bool
) -> None:
    """Many rows over a 16-bit base are computed in blocks, the last one filled up."""
    torch.manual_seed(0)
    base = nn.Linear(64, 48).to(torch.float32 if is_autocast else dtype).requires_grad_(False)
    module = build_adapted(base, "linear", rank=8, alpha=16.0).train()
    nn.init.normal_(module.lora_A, std=0.1)
    nn.init.normal_(module.lora_B, std=0.1)
    x = torch.randn(rows, 64, dtype=torch.float32 if is_autocast else dtype, requires_grad=True)
    with torch.autocast("cpu", dtype, enabled=is_autocast):
        y = module(x)
    assert y.dtype == dtype
    y.float().square().sum().backward()
    a, b = (p.detach().double().requires_grad_() for p in (module.lora_A, module.lora_B))
    z = x.detach().double().requires_grad_()
    exact = z @ base.weight.double().t() + base.bias.double() + module.scaling * z @ a.t() @ b.t()
    exact.square().sum().backward()
    tolerance = 0.02 if dtype == torch.bfloat16 else 0.003
    for found, true in ((module.lora_A, a), (module.lora_B, b), (x, z)):
        assert found.grad.dtype == found.dtype
        error = (found.grad.double() - true.grad).norm() / true.grad.norm()
        assert error < tolerance


def test_no_graph_is_built_where_nothing_is_trained() -> None:
    module = _adapt(_build(dtype=torch.float32))
    with torch.no_grad():
        assert not module(torch.randn(2, 5)).requires_grad
    module.requires_grad_(False)
    x = torch.randn(2, 5, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None
    assert module.lora_A.grad is None


def test_a_strided_input_is_as_good_as_a_contiguous_one() -> None:
    module = _adapt(_build(dtype=torch.float32))
    x = torch.randn(5, 6, 2).permute(2, 1, 0)
    torch.testing.assert_close(module(x), module(x.contiguous()))
