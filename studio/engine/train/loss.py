"""Cross-entropy from hidden states, tile by tile: the logits of a whole batch never exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F  # noqa: N812 - the name torch's own documentation uses
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

_TILE_BYTES = {"cpu": 64 << 20, "cuda": 256 << 20}
_MOST_CPU_ROWS = 384
"""More rows at once are slower on the processor (measured in 16 and 32 bits) and take memory."""
_PIECE_BYTES = {"cpu": 1 << 20, "cuda": 64 << 20}
"""Within a tile so much is turned into a gradient at once: near the processor, and 32 bits wide."""


@dataclass(frozen=True)
class LogitRule:
    """What a model does to the output of its head: multiply, then squeeze into (-cap, cap)."""

    scale: float = 1.0
    softcap: float | None = None

    def apply(self, logits: Tensor) -> Tensor:
        """Returns the finished logits, same shape."""
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits


@dataclass(frozen=True)
class TokenNotes:
    """Two numbers of each row with a target, noted beside the sum; ``values`` is ``(rows, 2)``.

    The cross-entropy, and the shortfall: by how much the logit of the target lies below the
    largest one, 0 where the target itself is the model's choice. Both in nats, float32.
    """

    values: Tensor

    @classmethod
    def build(cls, rows: int, device: torch.device) -> TokenNotes:
        """Returns empty notes for ``rows`` rows."""
        return cls(torch.zeros(rows, 2, device=device))

    def note(self, at: slice, losses: Tensor, shortfalls: Tensor) -> None:
        """Writes the numbers of some rows down, both ``(rows,)``; a second time changes nothing."""
        self.values[at, 0] = losses.to(self.values.dtype)
        self.values[at, 1] = shortfalls.to(self.values.dtype)


def sum_cross_entropy(
    hidden: Tensor,
    targets: Tensor,
    head: nn.Module,
    rule: LogitRule,
    tile_rows: int | None = None,
    notes: TokenNotes | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Returns the sum of the cross-entropy over all rows, in nats, float32, differentiable.

    ``hidden`` is ``(rows, width)``, only rows with a target; ``targets`` is ``(rows,)``. A plain
    frozen head costs no gradient of its weight and no second pass; any other head (trained,
    adapted) is applied tile by tile and recomputed in the backward pass. ``notes`` are filled, as
    without ``smoothing``: the share of every target that is spread evenly over all tokens.

    Source: Szegedy et al. 2016 (arXiv 1512.00567), section 7, for label smoothing.
    """
    if targets.numel() == 0:
        return hidden.sum() * 0.0
    if is_plain_frozen(head):
        rows = tile_rows or get_tile_rows(head.weight.shape[0], hidden.device)
        result: Tensor = _FrozenHeadLoss.apply(  # type: ignore[no-untyped-call]  # torch's own
            hidden, targets, head.weight, head.bias, rule, rows, notes, smoothing
        )
        return result
    rows = tile_rows or get_tile_rows(_get_vocabulary(head), hidden.device)
    return _sum_over_tiles(
        hidden, targets, lambda tile: rule.apply(head(tile).float()), rows, notes, smoothing
    )


def is_plain_frozen(head: nn.Module) -> TypeGuard[nn.Linear]:
    """Returns whether ``head`` is a linear layer whose own numbers are all frozen."""
    return type(head) is nn.Linear and not any(p.requires_grad for p in head.parameters())


def get_tile_rows(vocabulary: int, device: torch.device) -> int:
    """Returns how many rows of float32 logits are computed at once."""
    size = _TILE_BYTES.get(device.type, _TILE_BYTES["cpu"])
    if device.type == "cuda":
        return max(512, size // (4 * vocabulary))
    return min(_MOST_CPU_ROWS, max(64, size // (4 * vocabulary)))


def _get_vocabulary(head: nn.Module) -> int:
    return int(getattr(head, "out_features", 0)) or max(len(p) for p in head.parameters())


def _iter_tiles(rows: int, tile_rows: int) -> Iterator[slice]:
    for start in range(0, rows, tile_rows):
        yield slice(start, min(start + tile_rows, rows))


def sum_logits(
    logits: Tensor,
    targets: Tensor,
    notes: TokenNotes | None,
    at: slice,
    smoothing: float = 0.0,
) -> Tensor:
    """Returns the sum of the cross-entropy of finished logits ``(rows, vocabulary)``.

    ``at`` says which rows of the notes they are; ``smoothing`` is as in ``sum_cross_entropy``.
    """
    if notes is None:
        return F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
    losses = F.cross_entropy(logits, targets, reduction="none")
    with torch.no_grad():
        wanted = logits.gather(1, targets.unsqueeze(1)).squeeze(1)
        notes.note(at, losses, logits.amax(dim=1) - wanted)
    if not smoothing:
        return losses.sum()
    return F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)


def _sum_over_tiles(
    hidden: Tensor,
    targets: Tensor,
    to_logits: Callable[[Tensor], Tensor],
    tile_rows: int,
    notes: TokenNotes | None,
    smoothing: float,
) -> Tensor:
    def sum_tile(tile: Tensor, wanted: Tensor, at: slice) -> Tensor:
        return sum_logits(to_logits(tile), wanted, notes, at, smoothing)

    parts = [
        checkpoint(sum_tile, hidden[at], targets[at], at, use_reentrant=False)
        for at in _iter_tiles(len(targets), tile_rows)
    ]
    return torch.stack(parts).sum()


def _without_autocast(kind: str) -> AbstractContextManager[Any]:
    known = torch.amp.is_autocast_available(kind)
    return torch.autocast(kind, enabled=False) if known else nullcontext()


class _FrozenHeadLoss(torch.autograd.Function):
    """Sum of cross-entropy under a frozen linear head; the gradient is made in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        targets: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        rule: LogitRule,
        tile_rows: int,
        notes: TokenNotes | None,
        smoothing: float,
    ) -> Tensor:
        """Returns the sum; keeps one gradient of the size of ``hidden``."""
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        dtype = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        # made where it is needed: to bring a number to a card waits until the card is done
        total = torch.zeros((), dtype=dtype, device=hidden.device)
        # One tile for all: freed and taken again, the next one would come before the last one goes.
        room = weight.new_empty(min(tile_rows, len(targets)), weight.shape[0])
        with _without_autocast(hidden.device.type):
            for at in _iter_tiles(len(targets), tile_rows):
                rows = hidden[at].to(weight.dtype)
                tile = _Tile(_apply_head(rows, weight, bias, room[: len(rows)]), rule, smoothing)
                total += tile.sum(targets[at], at, notes, needs_slope=gradient is not None)
                if gradient is not None:
                    gradient[at] = tile.go_back(weight)
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the kept gradient times the gradient of the sum."""
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0].to(gradient.dtype), *[None] * 7


def _apply_head(hidden: Tensor, weight: Tensor, bias: Tensor | None, room: Tensor) -> Tensor:
    """Returns the head's raw output, written into ``room``."""
    if bias is None:
        return torch.mm(hidden, weight.t(), out=room)
    return torch.addmm(bias, hidden, weight.t(), out=room)


@dataclass(frozen=True)
class _Tile:
    """The logits of some rows, ``(rows, vocabulary)``, raw; they become the slope of the sum."""

    logits: Tensor
    rule: LogitRule
    smoothing: float

    def sum(
        self, targets: Tensor, at: slice, notes: TokenNotes | None, *, needs_slope: bool
    ) -> Tensor:
        """Returns the sum over the rows of ``targets``, which are at ``at`` of all rows.

        Works piece by piece: of the logits in more bits than the head has only one piece exists.
        """
        total = torch.zeros((), dtype=_widen(self.logits[:0]).dtype, device=targets.device)
        size = _PIECE_BYTES.get(targets.device.type, _PIECE_BYTES["cpu"])
        for piece in _iter_tiles(len(targets), max(1, size // (4 * self.logits.shape[1]))):
            found = self._sum_piece(self.logits[piece], targets[piece], needs_slope=needs_slope)
            total += found.total
            if notes is not None:
                where = slice(at.start + piece.start, at.start + piece.stop)
                notes.note(where, found.losses, found.shortfalls)
        return total

    def go_back(self, weight: Tensor) -> Tensor:
        """Returns the gradient of the rows, ``(rows, width)``."""
        return self.logits @ weight

    def _sum_piece(self, raw: Tensor, targets: Tensor, *, needs_slope: bool) -> _Piece:
        """Returns what some rows add; ``raw`` becomes their slope."""
        rule, smoothing = self.rule, self.smoothing
        logits = rule.apply(_widen(raw))
        bend = None
        if needs_slope and rule.softcap is not None:
            bend = 1 - (logits / rule.softcap).square_()
        index = targets.unsqueeze(1)
        logits -= logits.amax(dim=1, keepdim=True)
        wanted = logits.gather(1, index)
        average = logits.mean(dim=1, keepdim=True) if smoothing else wanted
        slope = logits.exp_()
        normaliser = slope.sum(dim=1, keepdim=True)
        losses = normaliser.log() - wanted
        # the mean over all tokens of the cross-entropy is log(normaliser) less the average logit
        total = losses.sum() + smoothing * (wanted - average).sum() if smoothing else losses.sum()
        if needs_slope:
            slope /= normaliser
            slope.scatter_add_(1, index, slope.new_full(index.shape, smoothing - 1.0))
            if smoothing:
                slope -= smoothing / slope.shape[1]
            if bend is not None:
                slope *= bend
            if rule.scale != 1.0:
                slope *= rule.scale
            if slope.data_ptr() != raw.data_ptr():
                raw.copy_(slope)
        return _Piece(total, losses.squeeze(1), -wanted.squeeze(1))


@dataclass(frozen=True)
class _Piece:
    """The sum over some rows, their losses without smoothing, and their shortfalls."""

    total: Tensor
    losses: Tensor
    shortfalls: Tensor


def _widen(logits: Tensor) -> Tensor:
    """Returns ``logits`` in 32 bits at least."""
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
