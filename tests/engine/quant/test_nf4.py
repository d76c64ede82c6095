"""NF4 in plain torch is bitsandbytes' NF4: codes, scales and unfolded weights."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from studio.engine.held import buffer
from studio.engine.held.fast import choose_path, run_self_test
from studio.engine.held.scales import NestedScales, PlainScales
from studio.engine.quant import get_quantise, nf4
from studio.engine.quant.nf4 import Nf4Weights
from tests.engine.quant.bitsandbytes_referee import load_functional

SHAPES = [(64, 64), (96, 172), (16, 40), (7, 33), (5, 13), (1024, 320)]


def _draw(shape: tuple[int, int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))) * 0.02
    weight[0] = 0.0  # a whole block of nothing
    return weight.to(dtype)


@pytest.mark.referee
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", SHAPES)
def test_codes_and_scales_equal_those_of_bitsandbytes(
    shape: tuple[int, int], dtype: torch.dtype
) -> None:
    functional = load_functional()
    weight = _draw(shape, dtype)
    ours = nf4.quantise(weight)
    codes, state = functional.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    assert torch.equal(ours.codes, codes)
    assert isinstance(ours.scales, NestedScales)
    assert torch.equal(ours.scales.offset, state.offset)
    assert torch.equal(ours.scales.scales, state.state2.absmax)
    # where two levels are nearly as close, its kernel takes either, plain torch the closer one
    differing = ours.scales.places != state.absmax
    assert float(differing.float().mean()) < 0.01
    exact = weight.float().flatten().split(64)
    largest = torch.stack([part.abs().max() for part in exact])
    off = (ours.scales.unfold() - largest).abs()
    theirs = functional.dequantize_blockwise(state.absmax, state.state2) + state.offset
    assert bool((off <= (theirs - largest).abs() + 1e-8).all())


@pytest.mark.referee
@pytest.mark.parametrize("is_nested", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", SHAPES)
def test_unfolded_weights_equal_those_of_bitsandbytes(
    shape: tuple[int, int], dtype: torch.dtype, is_nested: bool
) -> None:
    functional = load_functional()
    codes, state = functional.quantize_4bit(
        _draw(shape), quant_type="nf4", compress_statistics=is_nested
    )
    scales = (
        NestedScales(state.absmax, state.state2.absmax, state.offset)
        if is_nested
        else PlainScales(state.absmax)
    )
    ours = Nf4Weights(codes, scales, shape)
    state.dtype = dtype
    expected = functional.dequantize_4bit(codes, state)
    assert torch.equal(ours.borrow(dtype), expected)
    if dtype == torch.float32:
        assert torch.equal(ours.unfold(), expected)


def test_four_bits_and_an_eighth_are_held_per_weight() -> None:
    weights = nf4.quantise(_draw((1024, 2048)))
    assert weights.byte_count / (1024 * 2048) == pytest.approx(0.5 + 1 / 64 + 4 / 64 / 256, 1e-4)
    assert weights.codes.shape == (1024 * 1024, 1)


def test_borrowed_weights_of_all_layers_lie_in_the_same_memory() -> None:
    large, small = nf4.quantise(_draw((64, 64))), nf4.quantise(_draw((16, 40)))
    first = large.borrow(torch.float32)
    again = small.borrow(torch.float32)
    assert first.data_ptr() == again.data_ptr() == large.borrow(torch.float32).data_ptr()
    assert large.unfold().data_ptr() != first.data_ptr()
    with torch.inference_mode():
        assert not small.borrow(torch.float16).is_inference()


def test_weights_are_right_after_their_memory_grew_here_and_in_another_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(buffer, "_buffers", {})
    monkeypatch.setattr(buffer, "_own", buffer._OfThread())
    small, large = nf4.quantise(_draw((16, 40))), nf4.quantise(_draw((512, 600)))
    expected = small.unfold().bfloat16()
    small.borrow(torch.bfloat16)
    with ThreadPoolExecutor(1) as other:
        other.submit(large.borrow, torch.bfloat16).result()
    assert torch.equal(small.borrow(torch.bfloat16), expected)
    assert torch.equal(large.borrow(torch.bfloat16), large.unfold().bfloat16())
    assert torch.equal(small.borrow(torch.bfloat16), expected)


def test_the_error_is_that_of_nf4_on_normal_weights() -> None:
    weight = torch.randn(512, 512, generator=torch.Generator().manual_seed(3))
    error = (nf4.quantise(weight).unfold() - weight).norm() / weight.norm()
    assert 0.085 < float(error) < 0.1
    int8 = get_quantise("int8")(weight).unfold() - weight
    assert float(int8.norm() / weight.norm()) < 0.01


@pytest.mark.referee
def test_bitsandbytes_passes_the_self_test_and_a_wrong_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    functional = load_functional()
    cpu = torch.device("cpu")
    shapes = [(96, 320), (48, 40)]
    result = run_self_test(cpu, shapes)
    assert result.is_equal, result.words
    assert not choose_path(cpu).is_equal
    assert Nf4Weights.fast_unfold is None
    true = functional.dequantize_4bit

    def slightly_wrong(*args: object, **kwargs: object) -> torch.Tensor:
        found: torch.Tensor = true(*args, **kwargs)
        found[3, 5] *= 1.01
        return found

    monkeypatch.setattr(functional, "dequantize_4bit", slightly_wrong)
    assert run_self_test(cpu, shapes).words == "its numbers are wrong for 96 x 320 weights"

    def broken(*args: object, **kwargs: object) -> torch.Tensor:
        raise RuntimeError("no kernel image is available\nfor execution")

    monkeypatch.setattr(functional, "dequantize_4bit", broken)
    assert run_self_test(cpu).words == "it fails: no kernel image is available"


def test_without_bitsandbytes_the_self_test_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
    result = run_self_test(torch.device("cpu"))
    assert not result.is_equal
    assert result.words.startswith("it does not start")


def test_weights_move_with_their_scales() -> None:
    weights = nf4.quantise(_draw((16, 40)))
    moved = weights.to(torch.device("meta"))
    assert moved.device.type == moved.scales.unfold().device.type == "meta"
