"""Feed-forward parts in one function: the same numbers as their own code, and less kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from studio.core.recipe.schema import AdapterSettings
from studio.engine.lora.gated_mlp import GatedMlp, get_joined, join_gated_mlps
from studio.engine.lora.inject import inject
from studio.engine.lora.passes import mark_passes
from studio.engine.lora.row_blocks import split_rows
from studio.engine.quant.none import PlainLinear
from tests.engine.lora.tiny_models import build_model


class Part(nn.Module):
    """A feed-forward part as the families write it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(12, 20, bias=False)
        self.up_proj = nn.Linear(12, 20)
        self.down_proj = nn.Linear(20, 12)
        self.act_fn = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.act_fn(self.gate_proj(x)) * self.up_proj(x)
        down: Tensor = self.down_proj(inner)
        return down


class OtherPart(Part):
    """Looks the same and computes something else."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 1.5


def _build(dtype: torch.dtype = torch.float64, targets: Any = "all-linear") -> Any:
    torch.manual_seed(0)
    model: Any = build_model("llama").to(dtype)
    adapter = inject(model, AdapterSettings(rank=3, alpha=6.0, targets=targets), seed=0)
    for parameter in adapter.parameters():
        nn.init.normal_(parameter, std=0.1)
        parameter.data = parameter.data.to(torch.float64 if dtype == torch.float64 else None)
    return model.train(), adapter


def _compute(part: nn.Module, x: Tensor, *, plain: bool, keeps: bool = True) -> list[Tensor]:
    """Returns the result and all gradients of its squares' sum."""
    leaf = x.clone().requires_grad_()
    joined = get_joined(part)
    assert joined is not None
    y = type(part).forward(part, leaf) if plain else joined.run(leaf, keeps=keeps)
    parameters = [one for one in part.parameters() if one.requires_grad]
    return [y.detach(), *torch.autograd.grad(y.float().square().sum(), [leaf, *parameters])]


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("targets", ["all-linear", ("down_proj",), ("gate_proj", "q_proj")])
def test_the_function_is_the_parts_own_code(targets: Any, keeps: bool) -> None:
    model, _ = _build(targets=targets)
    part = model.model.layers[1].mlp
    x = torch.randn(1, 1100, model.config.hidden_size, dtype=torch.float64)  # three blocks
    expected = _compute(part, x, plain=True)
    found = _compute(part, x, plain=False, keeps=keeps)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)


def test_gradcheck() -> None:
    model, _ = _build()
    part = model.model.layers[0].mlp
    joined = get_joined(part)
    assert joined is not None
    x = torch.randn(5, model.config.hidden_size, dtype=torch.float64, requires_grad=True)
    for keeps in (True, False):
        assert torch.autograd.gradcheck(lambda one, k=keeps: joined.run(one, keeps=k), (x,))


def test_in_16_bits_the_error_is_that_of_the_parts_own_code() -> None:
    exact_model, _ = _build(torch.float64)
    model, _ = _build(torch.bfloat16)
    model.load_state_dict(exact_model.state_dict())
    exact_model.load_state_dict(model.state_dict())
    part, exact_part = model.model.layers[0].mlp, exact_model.model.layers[0].mlp
    x = torch.randn(700, model.config.hidden_size).bfloat16()
    exact = _compute(exact_part, x.double(), plain=True)
    plain, found = _compute(part, x, plain=True), _compute(part, x, plain=False)
    for true, one, other in zip(exact, plain, found, strict=True):
        before = float((one.double() - true).norm() / true.norm())
        after = float((other.double() - true).norm() / true.norm())
        assert after <= 1.2 * before + 1e-3


def test_only_what_computes_exactly_that_is_joined() -> None:
    holder = nn.ModuleList([Part(), OtherPart()])
    join_gated_mlps(holder)
    assert isinstance(get_joined(holder[0]), GatedMlp)
    assert get_joined(holder[1]) is None


def test_dropout_and_learnt_lengths_run_in_the_parts_own_code() -> None:
    for settings in (AdapterSettings(rank=2, dropout=0.1), AdapterSettings(rank=2, variant="dora")):
        model: Any = build_model("llama")
        inject(model, settings, seed=0)
        part = model.train().model.layers[0].mlp
        joined = get_joined(part)
        assert joined is not None
        assert not joined.can_run(torch.randn(4, model.config.hidden_size, requires_grad=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 127, 512, 513, 1500])
def test_blocks_cover_all_rows_once_in_few_sizes(count: int, dtype: torch.dtype) -> None:
    blocks = list(split_rows(count, dtype))
    assert [one.start for one in blocks] == [0, *(one.stop for one in blocks[:-1])]
    assert blocks[-1].stop == count
    if dtype == torch.bfloat16:
        assert {one.rows for one in blocks} <= {128, 256, 384, 512}
        assert [one.rows for one in blocks[:-1]] == [512] * (len(blocks) - 1)


@pytest.mark.parametrize("is_read", [False, True])
def test_computed_again_it_spares_the_result_that_nobody_reads(
    is_read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = _build()
    part = model.model.layers[1].mlp
    x = torch.randn(500, model.config.hidden_size, dtype=torch.float64)  # one block
    parameters = [one for one in part.parameters() if one.requires_grad]
    inner = model.config.intermediate_size
    inputs: list[int] = []  # widths of what is multiplied
    multiply = PlainLinear.project_into

    def project_into(frozen: PlainLinear, rows: Tensor, output: Tensor) -> None:
        inputs.append(rows.shape[1])
        multiply(frozen, rows, output)

    def layer(inputs: Tensor) -> Tensor:
        y: Tensor = inputs + part(inputs)
        return y.square() if is_read else y

    def train(*, again: bool) -> list[Tensor]:
        leaf = x.clone().requires_grad_()
        passes = {"use_reentrant": False, "context_fn": mark_passes}
        y = checkpoint(layer, leaf, **passes) if again else layer(leaf)
        return list(torch.autograd.grad(y.sum(), [leaf, *parameters]))

    expected = train(again=False)
    monkeypatch.setattr(PlainLinear, "project_into", project_into)
    for _ in range(2):  # the first time it has to find out that somebody reads it
        inputs.clear()
        for one, other in zip(train(again=True), expected, strict=True):
            assert torch.equal(one, other)
    assert inputs.count(inner) == (2 if is_read else 1)  # into the result, in both passes or one


def test_the_first_pass_of_a_recomputed_layer_holds_no_inner_results() -> None:
    model, _ = _build()
    part = model.model.layers[1].mlp
    x = torch.randn(600, model.config.hidden_size, dtype=torch.float64).requires_grad_()
    saved: list[Tensor] = []

    def keep(one: Tensor) -> Tensor:
        saved.append(one)
        return one

    with torch.autograd.graph.saved_tensors_hooks(keep, keep), mark_passes()[0]:
        part(x)
    wide = [one for one in saved if one.shape == (600, model.config.intermediate_size)]
    assert [one.untyped_storage().nbytes() for one in wide] == [8, 8]  # the shapes alone
