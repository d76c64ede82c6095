"""Q4_K, Q5_K and Q6_K of llama.cpp, for all blocks of a tensor at once and on any device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import gguf
import torch

from studio.engine.train.guard.memory import is_out_of_memory

_SUPER = 256
_CHUNK_SUPERS = 256
_CARD_SUPERS = 1 << 15
"""Blocks that a card works on at once: about half a GiB, whatever the size of the tensor."""
_AFFINE_STEPS = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5)
_SIGNED_STEPS = (-0.6, -0.3, 0.0, 0.3, 0.6)


def quantise(values: torch.Tensor, kind: gguf.GGMLQuantizationType) -> torch.Tensor:
    """Returns ``values`` (fp32, whole blocks of 256) as bytes ``(blocks, size)``, on the CPU.

    ``kind`` is one of ``K_QUANTS``; ``size`` 144, 176 or 210. The graphics card computes if there
    is one with room.
    """
    pack = _PACKERS[kind]
    supers = values.reshape(-1, _SUPER)
    if torch.cuda.is_available():
        try:
            parts = torch.split(supers, _CARD_SUPERS)
            return torch.cat([pack(part.cuda().t().contiguous()).cpu() for part in parts])
        except RuntimeError as error:  # a run that trains may have nearly all of the card
            if not is_out_of_memory(error):
                raise
    # One thread per chunk: parts of a chunk are too small to be worth a hand-over.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return torch.cat(list(pool.map(pack, _iter_chunks(supers))))


def _iter_chunks(supers: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yields blocks of 256 as columns ``(256, blocks)``, few enough to stay in the cache.

    With the members of a block below each other, sums over a block run over whole rows, which is
    several times faster than sums of 32 neighbours.
    """
    for start in range(0, len(supers), _CHUNK_SUPERS):
        yield supers[start : start + _CHUNK_SUPERS].t().contiguous()


def _pack_q4_k(columns: torch.Tensor) -> torch.Tensor:
    levels, head = _quantise_affine(columns, 15)
    pairs = levels.reshape(4, 2, 32, -1)
    packed = pairs[:, 0] | (pairs[:, 1] << 4)
    return torch.cat([head, packed.reshape(128, -1).t()], 1)


def _pack_q5_k(columns: torch.Tensor) -> torch.Tensor:
    levels, head = _quantise_affine(columns, 31)
    low = (levels & 15).reshape(4, 2, 32, -1)
    high = torch.zeros_like(levels[0])
    for index in range(8):
        high |= (levels[index] >> 4) << index
    packed = (low[:, 0] | (low[:, 1] << 4)).reshape(128, -1)
    return torch.cat([head, high.t(), packed.t()], 1)


def _quantise_affine(columns: torch.Tensor, top: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns levels ``(8, 32, blocks)`` of 0 to ``top`` and the 16 bytes of their scales.

    Each 32 values are ``step * level - floor``; steps and floors are rounded to 6 bits of a
    shared fp16 number.
    """
    values = columns.reshape(8, 32, -1)
    steps, floors = _fit_affine(values, top)
    step_unit, floor_unit = ((part.amax(0) / 63).to(torch.float16) for part in (steps, floors))
    step_levels, floor_levels = (
        (part / _avoid_zero(unit.float())).round_().clamp_(0, 63)
        for part, unit in ((steps, step_unit), (floors, floor_unit))
    )
    exact_steps = step_unit.float() * step_levels
    exact_floors = floor_unit.float() * floor_levels
    levels = values + exact_floors.unsqueeze(1)
    levels *= torch.where(exact_steps > 0, 1 / exact_steps, 0).unsqueeze(1)
    levels = levels.round_().clamp_(0, top).to(torch.uint8)
    scales = _pack_six_bits(step_levels.to(torch.uint8), floor_levels.to(torch.uint8))
    units = torch.stack([step_unit, floor_unit], 1).view(torch.uint8)
    return levels, torch.cat([units, scales.t()], 1)


def _fit_affine(values: torch.Tensor, top: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns step and floor ``(8, blocks)`` with the smallest error that a short search finds.

    Larger values weigh more, as in llama.cpp. For each guess of the step the levels are fixed and
    the best step and floor for them follow from least squares.
    """
    weights = values.abs()
    weights += values.square().mean(1, keepdim=True).sqrt_()
    low = values.amin(1).clamp_(max=0)
    high = values.amax(1).clamp_(min=0)
    shifted = values - low.unsqueeze(1)
    weighted = weights * values
    sum_w, sum_x = weights.sum(1), weighted.sum(1)
    span = _avoid_zero(high - low)
    best = torch.full_like(low, -torch.inf)
    best_step, best_floor = torch.zeros_like(low), torch.zeros_like(low)
    for guess in _AFFINE_STEPS:
        levels = (shifted * ((top + guess) / span).unsqueeze(1)).round_().clamp_(0, top)
        sum_xl = (weighted * levels).sum(1)
        scaled = weights * levels
        sum_l = scaled.sum(1)
        sum_ll = scaled.mul_(levels).sum(1)
        det = sum_w * sum_ll - sum_l.square()
        is_sound = det > 0
        step = torch.where(is_sound, (sum_w * sum_xl - sum_x * sum_l) / _avoid_zero(det), 0)
        floor = torch.where(is_sound, (sum_ll * sum_x - sum_l * sum_xl) / _avoid_zero(det), low)
        is_above = (floor > 0) | (~is_sound & (low == 0))
        floor = torch.where(is_above, 0, floor)
        step = torch.where(is_above, sum_xl / _avoid_zero(sum_ll), step).clamp_(min=0)
        gain = (
            2 * (step * sum_xl + floor * sum_x)
            - step.square() * sum_ll
            - 2 * step * floor * sum_l
            - floor.square() * sum_w
        )
        is_better = gain > best
        best = torch.where(is_better, gain, best)
        best_step = torch.where(is_better, step, best_step)
        best_floor = torch.where(is_better, -floor, best_floor)
    return best_step, best_floor


def _pack_six_bits(steps: torch.Tensor, floors: torch.Tensor) -> torch.Tensor:
    """Returns eight pairs of 6-bit numbers ``(8, blocks)`` as bytes ``(12, blocks)``."""
    return torch.cat(
        [
            (steps[:4] & 63) | ((steps[4:] >> 4) << 6),
            (floors[:4] & 63) | ((floors[4:] >> 4) << 6),
            (steps[4:] & 15) | ((floors[4:] & 15) << 4),
        ]
    )


def _pack_q6_k(columns: torch.Tensor) -> torch.Tensor:
    values = columns.reshape(16, 16, -1)
    steps = _fit_signed(values)
    largest = steps.gather(0, steps.abs().argmax(0, keepdim=True))[0]
    unit = (largest / -128).to(torch.float16)
    scales = (steps / _avoid_zero(unit.float())).round_().clamp_(-128, 127)
    exact = unit.float() * scales
    levels = values * torch.where(exact != 0, 1 / exact, 0).unsqueeze(1)
    stored = (levels.round_().clamp_(-32, 31) + 32).to(torch.uint8).reshape(2, 4, 32, -1)
    low, high = stored & 15, stored >> 4
    low = torch.stack([low[:, 0] | (low[:, 2] << 4), low[:, 1] | (low[:, 3] << 4)], 1)
    high = high[:, 0] | (high[:, 1] << 2) | (high[:, 2] << 4) | (high[:, 3] << 6)
    return torch.cat(
        [
            low.reshape(128, -1).t(),
            high.reshape(64, -1).t(),
            scales.to(torch.int8).view(torch.uint8).t(),
            unit.unsqueeze(1).view(torch.uint8),
        ],
        1,
    )


def _fit_signed(values: torch.Tensor) -> torch.Tensor:
    """Returns the step ``(16, blocks)`` of each 16 values, weighted by their squares."""
    largest = values.gather(1, values.abs().argmax(1, keepdim=True))[:, 0]
    weighted = values.square().mul_(values)
    weights = values.square()
    best = torch.full_like(largest, -torch.inf)
    best_step = torch.zeros_like(largest)
    for guess in _SIGNED_STEPS:
        levels = values * (-(32 + guess) / _avoid_zero(largest)).unsqueeze(1)
        levels.round_().clamp_(-32, 31)
        sum_xl = (weighted * levels).sum(1)
        sum_ll = levels.square_().mul_(weights).sum(1)
        step = sum_xl / _avoid_zero(sum_ll)
        gain = step * sum_xl
        is_better = gain > best
        best = torch.where(is_better, gain, best)
        best_step = torch.where(is_better, step, best_step)
    return best_step


def _avoid_zero(values: torch.Tensor) -> torch.Tensor:
    return torch.where(values == 0, 1, values)


_PACKERS: Mapping[gguf.GGMLQuantizationType, Callable[[torch.Tensor], torch.Tensor]] = {
    gguf.GGMLQuantizationType.Q4_K: _pack_q4_k,
    gguf.GGMLQuantizationType.Q5_K: _pack_q5_k,
    gguf.GGMLQuantizationType.Q6_K: _pack_q6_k,
}
K_QUANTS = frozenset(_PACKERS)
