"""Experts that files hold one by one in few bits, for models whose experts lie in stacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from studio.core.errors import ModelUnusable
from studio.engine.held.expert_names import find_single_names
from studio.engine.held.experts import STACK_NAMES, ExpertMatrix, is_quantisable_experts
from studio.engine.held.layer import HeldWeights
from studio.engine.held.scales import JoinedScales
from studio.engine.quant.int8 import Int8Weights
from studio.engine.quant.nf4 import Nf4Weights


class StoredPart(Protocol):
    """A projection of one expert in a file: its name there, and its shape in 16 bits."""

    @property
    def name(self) -> str:
        """What the file calls it."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The widths of output and input."""
        ...


@dataclass(frozen=True)
class StoredStack:
    """A stack of the model: for each expert the names of its parts, one below the other."""

    owner: str
    name: str
    parts: list[tuple[str, ...]]


def find_stored_stacks(model: nn.Module, weights: Iterable[StoredPart]) -> list[StoredStack]:
    """Returns the stacks of ``model``, still empty, that ``weights`` are all parts of.

    An experts module is left out unless every part of it is there in the shape that belongs to
    it, and unless its rows are known to be gate, then up.
    """
    named = {weight.name: weight for weight in weights}
    found = []
    for owner, module in model.named_modules():
        if not is_quantisable_experts(owner, module):
            continue
        own = dict(module.named_parameters(recurse=False))
        stacks = [
            StoredStack(owner, name, parts)
            for name in STACK_NAMES
            if name in own
            and (parts := find_single_names(f"{owner}.{name}", module, len(own[name]), named))
            and _fits(parts, own[name].shape, named)
        ]
        if len(stacks) == sum(name in own for name in STACK_NAMES):
            found += stacks
    return found


def fill_stack(
    model: nn.Module,
    stack: StoredStack,
    build_matrix: Callable[[], ExpertMatrix],
    read: Callable[[str], HeldWeights],
) -> None:
    """Puts the experts of ``stack`` into their module, with what ``read`` returns by name.

    Raises:
        ModelUnusable: The parts of an expert do not make one matrix.
    """
    matrices = []
    for names in stack.parts:
        matrix = build_matrix()
        matrix.set_held(join_held(names[0], [read(name) for name in names]))
        matrices.append(matrix)
    setattr(model.get_submodule(stack.owner), stack.name, nn.ModuleList(matrices))


def join_held(name: str, parts: Sequence[HeldWeights]) -> HeldWeights:
    """Returns ``parts``, one below the other, as one matrix whose numbers are the same.

    Raises:
        ModelUnusable: They are in different formats, or a block of one reaches into the next.
    """
    shape = sum(part.shape[0] for part in parts), parts[0].shape[1]
    codes = torch.cat([part.codes for part in parts])  # copied: what is read may be the file itself
    eights = [part for part in parts if isinstance(part, Int8Weights)]
    if len(eights) == len(parts):
        return Int8Weights(codes, torch.cat([part.largest for part in eights]))
    fours = [part for part in parts if isinstance(part, Nf4Weights)]
    manners = {(part.block, part.levels) for part in fours}
    are_whole = all(part.shape[0] * part.shape[1] % part.block == 0 for part in fours)
    if len(fours) < len(parts) or len(manners) > 1 or not are_whole:
        raise ModelUnusable(
            f"{name} and the other half of its expert are stored in ways that do not make one "
            "matrix.",
            "Choose the original model with 16-bit or 32-bit weights.",
        )
    scales = JoinedScales(tuple(part.scales for part in fours))
    return Nf4Weights(codes, scales, shape, fours[0].block, fours[0].levels)


def _fits(
    parts: Sequence[tuple[str, ...]], shape: Sequence[int], named: Mapping[str, StoredPart]
) -> bool:
    wanted = (shape[1] // len(parts[0]), shape[2])
    return all(named[name].shape == wanted for names in parts for name in names)
