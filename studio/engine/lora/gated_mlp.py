"""Feed-forward parts ``down(act(gate x) * up x)`` in one function that keeps gate and up alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from studio.engine.held.layer import QuantisedLayer
from studio.engine.held.product import get_compute_dtype
from studio.engine.lora.linear import AdaptedLinear
from studio.engine.lora.low_rank import LowRankProduct
from studio.engine.lora.passes import Pass, get_pass
from studio.engine.lora.row_blocks import RowBlock, is_divisible, split_rows
from studio.engine.quant import FrozenLinear, hold

_PARTS = ("gate_proj", "up_proj", "down_proj")
_ACTIVATION = "act_fn"
_MARK = "studio_gated"
_Activation = Callable[[Tensor], Tensor]


def join_gated_mlps(model: nn.Module) -> None:
    """Lets the gated feed-forward parts of ``model`` compute in one function while training.

    Of what such a part computes only the results of its two first matrices are kept for the
    backward pass, and that runs over blocks of rows. Each kind of part is tried out on a small
    copy of itself; what computes something else stays as it is.
    """
    known: dict[type[nn.Module], bool] = {}
    for module in model.modules():
        if any(not isinstance(getattr(module, name, None), nn.Module) for name in _PARTS):
            continue
        if get_joined(module) is not None:
            continue
        kind = type(module)
        if kind not in known:
            known[kind] = _is_gated(module)
        if known[kind]:
            joined = GatedMlp(module)
            setattr(module, _MARK, joined)
            if "forward" not in vars(module):  # what recomputes the part asks for this by itself
                module.forward = joined.run


def get_joined(module: nn.Module) -> GatedMlp | None:
    """Returns what computes ``module`` in one function, None where nothing does."""
    found = getattr(module, _MARK, None)
    return found if isinstance(found, GatedMlp) else None


class GatedMlp:
    """One feed-forward part; where it cannot be computed in one function its own code runs."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._frozen: dict[int, FrozenLinear] = {}
        self._is_read_again = False

    def can_run(self, inputs: Tensor) -> bool:
        """Returns whether the part can be computed in one function now."""
        if not (torch.is_grad_enabled() and self._module.training):
            return False
        pieces = list(self._iter_pieces())
        if len(pieces) != len(_PARTS):
            return False
        kinds = {get_compute_dtype(piece.frozen) for piece in pieces}
        needs = inputs.requires_grad or any(piece.lora_a is not None for piece in pieces)
        return needs and len(kinds) == 1

    def run(self, inputs: Tensor, *, keeps: bool = True) -> Tensor:
        """Returns ``(…, width)`` of ``inputs``; without ``keeps`` only these are kept."""
        if not self.can_run(inputs):
            return cast(Tensor, type(self._module).forward(self._module, inputs))
        pieces = tuple(self._iter_pieces())
        factors = [one for piece in pieces for one in (piece.lora_a, piece.lora_b)]
        act = cast(_Activation, getattr(self._module, _ACTIVATION))
        apply: Callable[..., Tensor] = _GatedMlp.apply
        taken = (inputs, *factors, tuple((p.frozen, p.scaling) for p in pieces), act)
        if not keeps:
            return apply(*taken, Aim.RESULT)
        now = get_pass()
        if now is Pass.FIRST:
            return apply(*taken, Aim.SHAPES)
        if now is not Pass.SECOND or self._is_read_again:
            return apply(*taken, Aim.ALL)
        y = apply(*taken, Aim.KEPT)
        # Who is still here goes on with the result: torch leaves a layer that is computed again as
        # soon as it has all that was kept of it, mostly inside the line above.
        self._is_read_again = True
        with torch.no_grad():
            return y.copy_(apply(*taken, Aim.RESULT))

    def _iter_pieces(self) -> Iterator[_Piece]:
        """Yields the three matrices, those that are more than a product left out."""
        for name in _PARTS:
            module = getattr(self._module, name)
            if isinstance(module, AdaptedLinear):
                if not module.is_enabled:
                    yield _Piece(module.frozen, None, None, 1.0)
                elif module.lora_magnitude is None and not (module.dropout or module.keeps_zeros):
                    yield _Piece(module.frozen, *module.get_factors(), module.scaling)
            elif _is_frozen(module):
                if id(module) not in self._frozen:
                    self._frozen[id(module)] = hold(module)
                yield _Piece(self._frozen[id(module)], None, None, 1.0)


@dataclass(frozen=True)
class _Piece:
    frozen: FrozenLinear
    lora_a: Tensor | None
    lora_b: Tensor | None
    scaling: float


def _is_frozen(module: nn.Module) -> bool:
    is_known = type(module) is nn.Linear or isinstance(module, QuantisedLayer)
    return is_known and not any(p.requires_grad for p in module.parameters())


class Aim(Enum):
    """What a call is for."""

    ALL = "all"
    RESULT = "result"
    """Only the input is kept."""
    SHAPES = "shapes"
    """As the one before; what would be kept is there without its numbers."""
    KEPT = "kept"
    """The result itself is not computed."""


class _GatedMlp(torch.autograd.Function):
    """Shapes inside: x (rows, width), gate and up (rows, inner), y (rows, width)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, *rest: Any) -> Tensor:
        *factors, pieces, act, aim = rest
        dtype = get_compute_dtype(pieces[0][0])
        x = inputs.reshape(-1, inputs.shape[-1]).to(dtype)
        parts = _build_parts(pieces, factors, dtype)
        kept = _Kept.build(x, parts, aim)
        y = x.new_empty(len(x), parts[2].frozen.out_features)
        for block in _split(x, parts):
            first, second = kept.compute_first(block, x, parts)
            if aim is Aim.KEPT and not parts[2].rank:
                continue
            opened = act(first)
            inside = opened * second if opened is first else opened.mul_(second)
            if aim is Aim.KEPT:
                kept.note(block, 2, parts[2].narrow(inside))
                continue
            part = block.open(y)
            kept.note(block, 2, parts[2].forward(inside, part))
            block.close(y, part)
        needs_x = aim is Aim.RESULT or any(one is not None for one in factors[:4])
        wide = kept.gate, kept.up
        if aim is Aim.SHAPES:
            wide = (x.new_empty(1, 1).expand(len(x), parts[0].frozen.out_features),) * 2
        ctx.save_for_backward(x if needs_x else None, *factors, *wide, *kept.small)
        ctx.pieces, ctx.act = pieces, act
        ctx.input_shape, ctx.input_dtype = inputs.shape, inputs.dtype
        return y.resize_(*inputs.shape[:-1], y.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, *others = ctx.saved_tensors
        factors, (gate, up, *small) = others[:6], others[6:]
        g = gradients.reshape(-1, gradients.shape[-1])
        needs_x = ctx.needs_input_grad[0]
        parts = _build_parts(ctx.pieces, factors, g.dtype)
        grad_x = g.new_empty(len(g), parts[0].frozen.in_features) if needs_x else None
        kept = _Kept(gate, up, tuple(small))
        for block in _split(g, parts):
            part = kept.go_back(block, g, x, parts, ctx.act, needs_x=needs_x)
            if grad_x is not None and part is not None:
                block.close(grad_x, part)
        if grad_x is not None:
            grad_x = grad_x.reshape(ctx.input_shape).to(ctx.input_dtype)
        found = [one for part in parts for one in part.take_gradients()]
        return grad_x, *found, None, None, None


@dataclass(frozen=True)
class _Kept:
    """What is kept besides the input: gate and up ``(rows, inner)``, ``A x`` of each matrix."""

    gate: Tensor | None = None
    up: Tensor | None = None
    small: tuple[Tensor | None, ...] = (None, None, None)

    @classmethod
    def build(cls, x: Tensor, parts: list[LowRankProduct], aim: Aim) -> _Kept:
        """Returns room for what is kept with ``aim``."""
        if aim is Aim.RESULT:
            return cls()
        found = (x.new_empty(len(x), part.rank) if part.rank else None for part in parts)
        inner, small = parts[0].frozen.out_features, tuple(found)
        if aim is Aim.SHAPES:
            return cls(small=small)
        return cls(x.new_empty(len(x), inner), x.new_empty(len(x), inner), small)

    def note(self, block: RowBlock, at: int, small: Tensor | None) -> None:
        whole = self.small[at]
        if whole is not None and small is not None:
            block.close(whole, small)

    def compute_first(
        self, block: RowBlock, x: Tensor, parts: list[LowRankProduct]
    ) -> tuple[Tensor, Tensor]:
        """Returns a block of gate and of up, which are kept where there is room for them."""
        rows, found = block.take(x), []
        for at, whole in enumerate((self.gate, self.up)):
            inner = parts[at].frozen.out_features
            values = rows.new_empty(len(rows), inner) if whole is None else block.open(whole)
            self.note(block, at, parts[at].forward(rows, values))
            if whole is not None:
                block.close(whole, values)
            found.append(values)
        return found[0], found[1]

    def go_back(
        self,
        block: RowBlock,
        g: Tensor,
        x: Tensor | None,
        parts: list[LowRankProduct],
        act: _Activation,
        *,
        needs_x: bool,
    ) -> Tensor | None:
        """Returns the gradient of a block of x and adds those of the factors."""
        rows = None if x is None else block.take(x)
        if x is not None and (self.gate is None or self.up is None):
            first, second = self.compute_first(block, x, parts)
        elif self.gate is not None and self.up is not None:
            first, second = block.take(self.gate), block.take(self.up)
        else:
            raise RuntimeError("neither the input nor what it was turned into was kept")
        small = [None if one is None else block.take(one) for one in self.small]
        with torch.enable_grad():
            leaf = first.detach().requires_grad_()
            bent = act(leaf)
        opened = bent.detach()
        inside = opened * second
        slope = parts[2].backward(block.take(g), inside, small[2])
        if slope is None:
            raise RuntimeError("the gradient inside is needed by the matrices before it")
        torch.mul(slope, opened, out=inside)  # the gradient of up
        (slope,) = torch.autograd.grad(bent, leaf, slope.mul_(second))
        back = parts[0].backward(slope, rows, small[0], needs_x=needs_x)
        more = parts[1].backward(inside, rows, small[1], needs_x=needs_x)
        return back.add_(more) if back is not None and more is not None else None


def _build_parts(
    pieces: tuple[tuple[FrozenLinear, float], ...], factors: list[Any], dtype: torch.dtype
) -> list[LowRankProduct]:
    return [
        LowRankProduct(frozen, factors[2 * at], factors[2 * at + 1], scaling, dtype)
        for at, (frozen, scaling) in enumerate(pieces)
    ]


def _split(x: Tensor, parts: list[LowRankProduct]) -> Iterator[RowBlock]:
    if all(is_divisible(part.frozen, x.dtype) for part in parts):
        return split_rows(len(x), x.dtype)
    return iter([RowBlock(0, len(x), len(x))])


@torch.no_grad()
def _is_gated(module: nn.Module) -> bool:
    """Returns whether a small copy of ``module`` computes ``down(act(gate x) * up x)``."""
    act = getattr(module, _ACTIVATION, None)
    if not callable(act):
        return False
    generator = torch.Generator().manual_seed(0)
    small: dict[str, nn.Module] = {}
    for name, sizes in zip(_PARTS, ((6, 10), (6, 10), (10, 6)), strict=True):
        small[name] = nn.Linear(*sizes)
        for parameter in small[name].parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    twin = copy.copy(module)
    vars(twin)["_modules"] = {**vars(module)["_modules"], **small}
    x = torch.randn(5, 6, generator=generator)
    gate, up, down = (small[name] for name in _PARTS)
    try:
        found = type(module).forward(twin, x)
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError, KeyError):
        return False  # whatever it computes, it is not that
    return torch.equal(found, down(act(gate(x)) * up(x)))
