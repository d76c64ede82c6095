"""A few rows are multiplied with weights in few bits piece by piece, with the same result."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from studio.engine.held.few import MOST_ROWS, can_multiply_few, multiply_few
from studio.engine.held.layer import QuantisedLinear
from studio.engine.quant import get_quantise

CPU = torch.device("cpu")
# whole blocks, rows that end amid a block, odd numbers of weights, many pieces
SHAPES = [(96, 128), (64, 172), (7, 33), (5, 13), (700, 512)]


def _draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("shape", SHAPES)
def test_pieces_together_are_the_whole_weight(kind: str, shape: tuple[int, int]) -> None:
    held = get_quantise(kind)(_draw(*shape) * 0.05)
    pieces = [piece.clone() for piece in held.iter_lines()]  # type: ignore[attr-defined]  # not all can
    assert torch.equal(torch.cat(pieces), held.unfold())


@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_product_is_that_with_the_unfolded_weight_rounded_once(
    kind: str, rows: int, dtype: torch.dtype
) -> None:
    held, inputs = get_quantise(kind)(_draw(700, 512) * 0.05), _draw(rows, 512).to(dtype)
    found = multiply_few(held, inputs, 700)  # type: ignore[arg-type]  # these two can
    exact = inputs.double() @ held.unfold().double().t()
    assert found.shape == (rows, 700)
    assert found.is_contiguous()
    assert found.dtype == dtype
    bound = 1e-5 if dtype == torch.float32 else 2**-8
    torch.testing.assert_close(found.double(), exact, rtol=bound, atol=1e-5)


def test_a_layer_takes_that_way_for_few_rows_alone_and_learns_through_it() -> None:
    layer = QuantisedLinear(nn.Linear(512, 700), get_quantise("nf4"), torch.float32, CPU)
    layer.weight = nn.Parameter(_draw(700, 512) * 0.05)
    layer.bias = nn.Parameter(_draw(700))
    held = layer.get_held()
    inputs = _draw(MOST_ROWS + 1, 512).requires_grad_()
    assert can_multiply_few(held, inputs[:1], 700)
    assert can_multiply_few(held, inputs[:1].bfloat16(), 700)
    assert not can_multiply_few(held, inputs[:1].double(), 700)
    assert not can_multiply_few(held, inputs[:2], 700)
    assert can_multiply_few(held, inputs[:MOST_ROWS], 7000)
    assert not can_multiply_few(held, inputs[:2].bfloat16(), 7000)
    assert not can_multiply_few(held, inputs, 7000)
    one = layer(inputs[:1])
    torch.testing.assert_close(one, layer(inputs)[:1], rtol=1e-4, atol=1e-5)
    one.sum().backward()
    assert inputs.grad is not None
    expected = held.unfold().sum(0, keepdim=True)
    torch.testing.assert_close(inputs.grad[:1], expected, rtol=1e-4, atol=1e-4)
    with torch.inference_mode():
        torch.testing.assert_close(layer(inputs[:1]), one, rtol=1e-4, atol=1e-5)
    layer(inputs[:1]).sum().backward()  # memory asked for in inference mode serves training too
