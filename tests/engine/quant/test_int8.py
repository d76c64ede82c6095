"""Eight bits per weight, one scale per output, as bitsandbytes stores them."""

from __future__ import annotations

import pytest
import torch

from studio.engine.quant import int8
from tests.engine.quant.bitsandbytes_referee import load_functional


@pytest.mark.referee
@pytest.mark.parametrize("shape", [(64, 64), (300, 40), (7, 33)])
def test_codes_and_unfolded_weights_equal_those_of_bitsandbytes(shape: tuple[int, int]) -> None:
    functional = load_functional()
    weight = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.02).half()
    ours = int8.quantise(weight)
    codes, largest, _ = functional.int8_vectorwise_quant(weight)
    assert torch.equal(ours.codes, codes)
    assert torch.equal(ours.largest, largest)
    expected = functional.int8_vectorwise_dequant(codes, largest)
    torch.testing.assert_close(ours.unfold(), expected, rtol=3e-7, atol=0)


def test_rounding_errs_by_half_a_level_at_most() -> None:
    weight = torch.randn(40, 64, generator=torch.Generator().manual_seed(1))
    weight[3] = 0.0
    weights = int8.quantise(weight)
    level = weights.largest[:, None] / 127
    assert bool(((weights.unfold() - weight).abs() <= level * 0.5001).all())
    assert weights.byte_count == 40 * 64 + 4 * 40
    assert torch.equal(weights.borrow(torch.bfloat16), weights.unfold().bfloat16())
