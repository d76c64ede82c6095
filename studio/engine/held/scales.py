"""The scales of the blocks of a weight, as they are or themselves in 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from studio.engine.held.blocks import (
    dequantise_blocks,
    quantise_blocks,
    split_blocks,
    split_rooms,
)
from studio.engine.held.buffer import borrow_scratch, keep_views
from studio.engine.held.levels import Levels, get_dynamic_levels

NESTED_BLOCK = 256


@dataclass(frozen=True)
class PlainScales:
    """One fp32 number per block."""

    values: Tensor

    @property
    def byte_count(self) -> int:
        """The memory they take."""
        return self.values.nbytes

    def unfold(self) -> Tensor:
        """Returns the scales, fp32."""
        return self.values

    def borrow_columns(self, count: int) -> Sequence[Tensor]:
        """Returns the scales as columns ``(count, 1)``, fp32, the last one may be shorter."""
        return torch.split(self.values[:, None], count)

    def to(self, device: torch.device) -> PlainScales:
        """Returns the same scales on ``device``."""
        return PlainScales(self.values.to(device))


@dataclass(frozen=True)
class NestedScales:
    """Eight bits per block: the distance from the mean ``offset``, in blocks of their own.

    ``places`` are uint8, ``scales`` one fp32 number per ``block`` of them. ``levels`` None means
    the signed dynamic ones.

    Source: Dettmers et al. 2023 (QLoRA), section 3, "Double Quantization".
    """

    places: Tensor
    scales: Tensor
    offset: Tensor
    block: int = NESTED_BLOCK
    levels: Levels | None = None

    @classmethod
    def of(cls, values: Tensor) -> NestedScales:
        """Returns ``values`` (one fp32 scale per block of a weight) in 8 bits each."""
        offset = values.mean()
        levels = get_dynamic_levels(values.device, is_signed=True)
        places, scales = quantise_blocks(values - offset, levels, NESTED_BLOCK)
        return cls(places, scales, offset)

    @property
    def byte_count(self) -> int:
        """The memory they take."""
        return self.places.nbytes + self.scales.nbytes + self.offset.nbytes

    def unfold(self) -> Tensor:
        """Returns the scales, fp32."""
        numbers = dequantise_blocks(self.places, self.scales, self._get_levels(), self.block)
        return numbers.add_(self.offset)

    def borrow_columns(self, count: int) -> Sequence[Tensor]:
        """Returns the scales as columns ``(count, 1)``, fp32, the last one may be shorter.

        They lie in memory of this thread that the next call overwrites.
        """
        device, levels = self.places.device, self._get_levels()
        scratch = borrow_scratch(self.places.numel(), torch.float32, device, "scales")
        rooms, columns = keep_views(
            ("scales", len(scratch), self.block, count),
            device,
            lambda: (split_rooms(scratch, self.block), torch.split(scratch[:, None], count)),
        )
        for room, part in zip(rooms, self._parts, strict=True):
            room.fill(levels.values, *part)
        scratch.add_(self.offset)
        return columns

    @cached_property
    def _parts(self) -> Sequence[tuple[Tensor, Tensor]]:
        return split_blocks(self.places, self.scales, self.block)

    def _get_levels(self) -> Levels:
        return self.levels or get_dynamic_levels(self.places.device, is_signed=True)

    def to(self, device: torch.device) -> NestedScales:
        """Returns the same scales on ``device``."""
        levels = None if self.levels is None else Levels(self.levels.values.to(device))
        moved = {name: getattr(self, name).to(device) for name in ("places", "scales", "offset")}
        return replace(self, levels=levels, **moved)


@dataclass(frozen=True)
class JoinedScales:
    """The scales of several matrices that lie one below the other, each as it was stored."""

    parts: tuple[PlainScales | NestedScales | JoinedScales, ...]

    @property
    def byte_count(self) -> int:
        """The memory they take."""
        return sum(part.byte_count for part in self.parts)

    def unfold(self) -> Tensor:
        """Returns the scales, fp32."""
        return torch.cat([part.unfold() for part in self.parts])

    def borrow_columns(self, count: int) -> Sequence[Tensor]:
        """Returns the scales as columns ``(count, 1)``, fp32, the last one may be shorter."""
        return torch.split(self.unfold()[:, None], count)

    def to(self, device: torch.device) -> JoinedScales:
        """Returns the same scales on ``device``."""
        return JoinedScales(tuple(part.to(device) for part in self.parts))


Scales = PlainScales | NestedScales | JoinedScales
