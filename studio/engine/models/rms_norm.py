"""Root mean square norms in one function that keeps its input in the input's own dtype."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_EPSILONS = ("variance_epsilon", "eps", "epsilon")
_BLOCK_NUMBERS = 1 << 16
"""So many numbers are computed at once on the processor: they stay near it, and room is saved."""


@dataclass(frozen=True)
class NormRule:
    """How a family scales what is normalised.

    The factor is ``offset + weight``; ``is_wide``: applied in 32 bits, before rounding.
    """

    offset: float
    is_wide: bool

    def scale_into(self, output: Tensor, normal: Tensor, weight: Tensor) -> None:
        """Writes the finished numbers for ``normal``, which is used up, into ``output``."""
        if self.is_wide:
            normal.mul_(self._get_factor(weight, normal.dtype))
        output.copy_(normal)
        if not self.is_wide:
            output.mul_(weight)

    def scale_back_into(self, slope: Tensor, gradients: Tensor, weight: Tensor) -> None:
        """Writes the gradient of ``normal`` into ``slope``, which is in 32 bits at least."""
        if self.is_wide:
            slope.copy_(gradients).mul_(self._get_factor(weight, slope.dtype))
        else:
            slope.copy_(gradients * weight)

    def _get_factor(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        factor = weight.to(dtype)
        return factor + self.offset if self.offset else factor


_RULES = (NormRule(0.0, is_wide=False), NormRule(0.0, is_wide=True), NormRule(1.0, is_wide=True))


def join_norms(model: nn.Module) -> None:
    """Lets the root mean square norms of ``model`` compute in one function.

    While training, the code of the families keeps a copy of the input in 32 bits, and several more
    come and go; without gradients it makes six calls, which count where there are few tokens.
    Each kind of norm is tried out on a small copy of itself; others stay as they are.
    """
    known: dict[type[nn.Module], NormRule | None] = {}
    for module in model.modules():
        weight = getattr(module, "weight", None)
        is_possible = isinstance(weight, nn.Parameter) and weight.dim() == 1
        if not is_possible or _get_epsilon(module) is None or "forward" in vars(module):
            continue
        kind = type(module)
        if kind not in known:
            known[kind] = _find_rule(module)
        rule = known[kind]
        if rule is not None:
            module.forward = _JoinedNorm(module, rule).run


class _JoinedNorm:
    def __init__(self, module: nn.Module, rule: NormRule) -> None:
        self._module = module
        self._rule = rule

    def run(self, inputs: Tensor) -> Tensor:
        weight = cast(Tensor, self._module.weight)
        epsilon = _get_epsilon(self._module)
        is_training = torch.is_grad_enabled() and inputs.requires_grad
        if inputs.dtype == weight.dtype == torch.float32 and not torch.is_grad_enabled():
            # one call instead of six, which is felt where an answer grows token by token
            factor = weight + self._rule.offset if self._rule.offset else weight
            return functional.rms_norm(inputs, weight.shape, factor, epsilon)
        is_alike = inputs.dtype == weight.dtype and inputs.dtype != torch.float64
        if not (is_training and is_alike) or weight.requires_grad or epsilon is None:
            return cast(Tensor, type(self._module).forward(self._module, inputs))
        apply: Callable[..., Tensor] = _RmsNorm.apply
        return apply(inputs, weight, epsilon, self._rule)


class _RmsNorm(torch.autograd.Function):
    """Shapes inside: x (rows, width), weight (width,), one factor per row (rows, 1)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, epsilon: float, rule: NormRule) -> Tensor:
        x = inputs.reshape(-1, inputs.shape[-1])
        y = torch.empty_like(x)
        factors = x.new_empty(len(x), 1, dtype=_get_wide(x.dtype))
        for at, (wide, squares) in _iter_blocks(x, 2):
            wide.copy_(x[at])
            torch.mul(wide, wide, out=squares)
            factors[at] = squares.mean(-1, keepdim=True).add_(epsilon).rsqrt_()
            rule.scale_into(y[at], wide.mul_(factors[at]), weight)
        ctx.save_for_backward(x, weight, factors)
        ctx.rule, ctx.shape = rule, inputs.shape
        return y.view(inputs.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, factors = ctx.saved_tensors
        g = gradients.reshape(x.shape)
        found = torch.empty_like(x)
        for at, (slope, normal, products) in _iter_blocks(x, 3):
            ctx.rule.scale_back_into(slope, g[at], weight)
            normal.copy_(x[at]).mul_(factors[at])
            share = torch.mul(slope, normal, out=products).mean(-1, keepdim=True)
            found[at] = slope.sub_(normal.mul_(share)).mul_(factors[at])
        return found.view(ctx.shape), None, None, None


def _iter_blocks(x: Tensor, rooms: int) -> Iterator[tuple[slice, list[Tensor]]]:
    """Yields the rows of each block, and as many rooms in 32 bits at least to compute them in."""
    most = max(1, _BLOCK_NUMBERS // x.shape[1]) if x.device.type == "cpu" else max(1, len(x))
    size = min(most, len(x)), x.shape[1]
    room = [x.new_empty(size, dtype=_get_wide(x.dtype)) for _ in range(rooms)]
    for start in range(0, len(x), most):
        stop = min(len(x), start + most)
        yield slice(start, stop), [one[: stop - start] for one in room]


def _get_wide(dtype: torch.dtype) -> torch.dtype:
    """Returns the dtype in which norms are computed."""
    return torch.promote_types(dtype, torch.float32)


def _get_epsilon(module: nn.Module) -> float | None:
    for name in _EPSILONS:
        value = getattr(module, name, None)
        if isinstance(value, float):
            return value
    return None


@torch.no_grad()
def _find_rule(module: nn.Module) -> NormRule | None:
    """Returns the rule with which a small copy of ``module`` computes to the last bit, if any."""
    epsilon = _get_epsilon(module)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(32, generator=generator).bfloat16()
    x = (3 * torch.randn(16, 32, generator=generator)).bfloat16()
    twin = copy.copy(module)
    vars(twin)["_parameters"] = {**vars(module)["_parameters"], "weight": nn.Parameter(weight)}
    try:
        found = type(module).forward(twin, x)
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError, KeyError):
        return None  # whatever it computes, it is not that
    if not isinstance(found, Tensor) or epsilon is None:
        return None
    wide = x.float()
    normal = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)
    return next((rule for rule in _RULES if _fits(rule, normal, weight, found)), None)


def _fits(rule: NormRule, normal: Tensor, weight: Tensor, found: Tensor) -> bool:
    output = torch.empty_like(normal, dtype=found.dtype)
    rule.scale_into(output, normal.clone(), weight)
    return torch.equal(output, found)
