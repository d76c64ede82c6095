"""Stacked experts as the training saw them: each held in fewer bits, and unfolded again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from studio.core.errors import ModelUnusable
from studio.engine.export.changes import Change
from studio.engine.export.expert_changes import StackedChange
from studio.engine.export.shards import StoredTensor, read_tensor
from studio.engine.held.expert_names import find_single_names
from studio.engine.held.experts import STACK_NAMES
from studio.engine.held.layer import Quantise


@dataclass(frozen=True)
class ExpertSource:
    """Where one projection of one expert lies: the tensors that make its matrix, one after another.

    ``is_transposed``: they are ``(in, out)`` in the file, the matrix is ``(out, in)``.
    """

    tensors: tuple[StoredTensor, ...]
    is_transposed: bool = False

    def read(self) -> torch.Tensor:
        """Returns the matrix, ``(out, in)`` in fp32."""
        matrix = torch.cat([read_tensor(one).float() for one in self.tensors])
        return matrix.t().contiguous() if self.is_transposed else matrix


class DequantisedExpert:
    """Puts the values that a part of an expert has in fewer bits in its place, then a change.

    Formats share scales across the whole matrix of an expert, but files may hold its parts apart:
    the matrix is read when it is its turn, and only one is in memory.

    Args:
        quantise: Puts a matrix ``(out, in)`` into the format.
        source: The matrix of the expert.
        first: The row of it with which this part begins.
        shape: The shape of this part in the file.
        change: What happens to the values then, None where nothing does.
    """

    needs_measuring = False

    def __init__(
        self,
        quantise: Quantise,
        source: ExpertSource,
        first: int,
        shape: tuple[int, int],
        change: Change | None,
    ) -> None:
        self.shape = shape
        self._quantise, self._source, self._first = quantise, source, first
        self._change = change
        self._values = torch.empty(0)

    def measure(self, rows: slice, weight: torch.Tensor) -> None:
        """Needs nothing."""

    def apply(self, rows: slice, weight: torch.Tensor) -> torch.Tensor:
        """Returns the new ``rows``."""
        if rows.start == 0:
            values = self._quantise(self._source.read()).unfold()
            values = values.t() if self._source.is_transposed else values
            self._values = values[self._first : self._first + self.shape[0]]
        weight.copy_(self._values[rows])
        if rows.stop == self.shape[0]:
            self._values = torch.empty(0)
        return weight if self._change is None else self._change.apply(rows, weight)


def build_held_experts(
    name: str,
    experts: nn.Module,
    quantise: Quantise,
    tensors: Mapping[str, StoredTensor],
    changes: Mapping[str, Change],
) -> dict[str, Change]:
    """Returns the changes of all weights of the module ``name`` with stacked ``experts``.

    ``tensors`` are those of the base by their names; ``changes`` what the adapter does to them.

    Raises:
        ModelUnusable: The files hold the experts in another arrangement.
    """
    held: dict[str, Change] = {}
    own = dict(experts.named_parameters(recurse=False))
    for key in (one for one in STACK_NAMES if one in own):
        stack = f"{name}.{key}"
        places = find_single_names(stack, experts, len(own[key]), tensors)
        if places:
            held |= _build_single(places, quantise, tensors, changes)
        else:
            is_transposed = bool(getattr(experts, "is_transposed", False))
            source = _find_stack(stack, tensors, tuple(own[key].shape))
            held[stack] = _build_stacked(source, quantise, changes.get(stack), is_transposed)
    return held


def _build_single(
    places: list[tuple[str, ...]],
    quantise: Quantise,
    tensors: Mapping[str, StoredTensor],
    changes: Mapping[str, Change],
) -> dict[str, Change]:
    held: dict[str, Change] = {}
    for names in places:
        source, first = ExpertSource(tuple(tensors[one] for one in names)), 0
        for one in names:
            rows, columns = tensors[one].shape
            held[one] = DequantisedExpert(
                quantise, source, first, (rows, columns), changes.get(one)
            )
            first += rows
    return held


def _find_stack(
    name: str, tensors: Mapping[str, StoredTensor], shape: tuple[int, ...]
) -> StoredTensor:
    found = tensors.get(name) or tensors.get(name.partition(".")[2])
    if found is None or found.shape != shape or found.packed is not None:
        raise ModelUnusable(
            f"The base holds the experts of {name} in another arrangement than the model computes "
            "with, so that files with the values they had in fewer bits cannot be written.",
            "Join the adapter with the original weights.",
        )
    return found


def _build_stacked(
    stack: StoredTensor, quantise: Quantise, change: Change | None, is_transposed: bool
) -> StackedChange:
    own = change.blocks if isinstance(change, StackedChange) else None
    blocks: list[Change] = []
    for number, one in enumerate(_split(stack)):
        rows, columns = one.shape
        source = ExpertSource((one,), is_transposed)
        after = None if own is None else own[number]
        blocks.append(DequantisedExpert(quantise, source, 0, (rows, columns), after))
    return StackedChange(blocks)


def _split(stack: StoredTensor) -> Iterator[StoredTensor]:
    """Yields the tensors of single experts inside a stack."""
    size = stack.byte_count // stack.shape[0]
    for number in range(stack.shape[0]):
        begin = stack.begin + number * size
        yield replace(stack, shape=stack.shape[1:], begin=begin, end=begin + size)
