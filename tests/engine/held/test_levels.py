"""Numbers go to the nearest level, exactly, and blocks of them come back as bitsandbytes' do."""

from __future__ import annotations

import pytest
import torch

from studio.engine.held.blocks import dequantise_blocks, quantise_blocks
from studio.engine.held.levels import Levels, get_dynamic_levels, get_nf4_levels
from tests.engine.quant.bitsandbytes_referee import load_functional

CPU = torch.device("cpu")
SETS = {
    "nf4": get_nf4_levels(CPU),
    "signed": get_dynamic_levels(CPU, is_signed=True),
    "unsigned": get_dynamic_levels(CPU, is_signed=False),
}


@pytest.mark.parametrize("name", SETS)
def test_the_quick_way_to_a_level_equals_a_binary_search(name: str) -> None:
    levels = SETS[name]
    middles = (levels.values[1:] + levels.values[:-1]) / 2
    generator = torch.Generator().manual_seed(0)
    numbers = torch.cat(
        (
            torch.rand(200_000, generator=generator) * 2 - 1,
            torch.logspace(-40, 0, 20_000),
            -torch.logspace(-40, 0, 20_000),
            levels.values,
            middles,
            torch.nextafter(middles, torch.tensor(9.0)),
            torch.nextafter(middles, torch.tensor(-9.0)),
            torch.tensor([0.0, -0.0, 1e-45, -1e-45]),
        )
    )
    expected = torch.bucketize(numbers, middles)
    assert torch.equal(levels.find_nearest(numbers).long(), expected)


def test_each_level_comes_back_as_itself() -> None:
    for levels in SETS.values():
        places = levels.find_nearest(levels.values)
        assert torch.equal(levels.values[places.long()], levels.values)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 1000])
def test_blocks_are_scaled_by_their_largest_number(count: int) -> None:
    numbers = torch.randn(count, generator=torch.Generator().manual_seed(1))
    numbers[: count // 3] = 0.0
    places, scales = quantise_blocks(numbers, SETS["signed"], 64)
    expected = [float(part.abs().max()) for part in numbers.split(64)]
    assert scales.tolist() == expected
    found = dequantise_blocks(places, scales, SETS["signed"], 64)
    # the widest gap of the levels is 0.014, so that nothing is further off than half of it
    allowed = scales.repeat_interleave(64)[:count] * 0.0071
    assert bool(((found - numbers).abs() <= allowed).all())


@pytest.mark.referee
@pytest.mark.parametrize("is_signed", [True, False])
def test_the_dynamic_levels_are_those_of_bitsandbytes(is_signed: bool) -> None:
    theirs = load_functional().create_dynamic_map(is_signed)
    assert torch.equal(get_dynamic_levels(CPU, is_signed=is_signed).values, theirs)


@pytest.mark.referee
def test_no_number_is_further_from_its_level_than_in_bitsandbytes() -> None:
    functional = load_functional()
    numbers = torch.randn(64, 1024, generator=torch.Generator().manual_seed(2))
    theirs, state = functional.quantize_blockwise(numbers, blocksize=256)
    levels = SETS["signed"]
    places, scales = quantise_blocks(numbers, levels, 256)
    assert torch.equal(scales, state.absmax)
    ours = dequantise_blocks(places, scales, levels, 256).view_as(numbers)
    back = functional.dequantize_blockwise(theirs, state)
    assert bool(((ours - numbers).abs() <= (back - numbers).abs() + 1e-7).all())
    # its kernel for processors takes the further of two levels where they are nearly as close
    assert float((places.view_as(theirs) != theirs).float().mean()) < 0.01
    same = dequantise_blocks(theirs.flatten(), state.absmax, levels, 256)
    assert torch.equal(same.view_as(numbers), back)


def test_levels_move_ties_down() -> None:
    levels = Levels(torch.tensor([-1.0, 0.0, 1.0]))
    assert levels.find_nearest(torch.tensor([-0.5, 0.5, 0.6])).tolist() == [0, 1, 2]
