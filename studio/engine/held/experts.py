"""Experts whose weights are stacked into one tensor per projection, held in few bits."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from studio.core.weights.quantisable import is_quantisable
from studio.engine.held.layer import IS_FILLED, Quantise, QuantisedLayer, QuantisedMap
from studio.engine.held.product import frozen_product

STACK_NAMES = ("gate_up_proj", "up_proj", "down_proj")
"""The stacked parameters of an experts module, in the order in which modules declare them."""
_PROBE_EXPERTS, _PROBE_WIDTH = 2, 4
Project = Callable[[Tensor, str, int], Tensor]
"""Returns what a projection of one expert makes of rows: ``(rows, in)`` to ``(rows, out)``."""


class ExpertMatrix(QuantisedLayer):
    """One projection of one expert; no linear layer of its own in the eyes of others."""

    def __init__(
        self,
        quantise: Quantise | None,
        dtype: torch.dtype,
        target: torch.device,
        home: torch.device,
    ) -> None:
        super().__init__()
        self.quantise, self.compute_dtype = quantise, dtype
        self.target, self.home = target, home
        self.held = self.note = None
        self.register_parameter("bias", None)

    def build_dense(self) -> nn.Module:
        """Refuses: an expert is dense only together with the others.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("experts are not unfolded one by one")


class QuantisedExperts(nn.Module):
    """What an experts module in few bits has beside its family's type.

    It quantises each stack that it is given, expert by expert; in its place stands then a list of
    ``ExpertMatrix``. Biases stay as they are.
    """

    build_matrix: Callable[[], ExpertMatrix]

    def __setattr__(self, name: str, value: Any) -> None:
        is_stack = name in STACK_NAMES and isinstance(value, Tensor) and value.ndim == 3
        if not is_stack or value.device.type == "meta" or not value.is_floating_point():
            super().__setattr__(name, value)
            return
        matrices = []
        for weight in value.detach():
            matrix = self.build_matrix()
            matrix.weight = weight.t().contiguous() if self.is_transposed else weight
            matrices.append(matrix)
        self._parameters.pop(name, None)
        super().__setattr__(name, nn.ModuleList(matrices))

    def forward(self, hidden: Tensor, *routing: Any, **named: Any) -> Tensor:
        """Returns ``(tokens, width)``; the routing is the chosen experts and their weights."""
        index, weights = (*routing, *named.values())
        return compute_chosen(self, hidden, index, weights, self._project)

    def _project(self, rows: Tensor, name: str, expert: int) -> Tensor:
        return frozen_product(rows, hold_held_expert(self, name, expert))


def hold_held_expert(experts: nn.Module, name: str, expert: int) -> QuantisedMap:
    """Returns the map of one projection of one expert, its bias included."""
    biases = cast("Tensor | None", getattr(experts, f"{name}_bias", None))
    matrix = cast(nn.ModuleList, getattr(experts, name))[expert]
    bias = None if biases is None else biases[expert]
    return QuantisedMap(cast(QuantisedLayer, matrix), bias)


def find_held_stack(experts: nn.Module, name: str) -> list[ExpertMatrix]:
    """Returns the matrices of all experts for one projection; none where they are not quantised."""
    found = experts._modules.get(name)  # noqa: SLF001 - getattr would find parameters as well
    return list(cast(Any, found)) if isinstance(found, nn.ModuleList) else []


def compute_chosen(
    experts: Any, hidden: Tensor, index: Tensor, weights: Tensor, project: Project
) -> Tensor:
    """Returns the sum over the chosen experts of each token, ``(tokens, width)``.

    ``index`` and ``weights`` are ``(tokens, chosen)``. Only what a token is sent to is computed.
    """
    total = torch.zeros_like(hidden)
    for expert in torch.unique(index).tolist():
        if expert >= int(experts.num_experts):  # marks a token that is computed elsewhere
            continue
        rows, places = torch.where(index == expert)
        if experts.has_gate:
            inner = experts._apply_gate(project(hidden[rows], "gate_up_proj", expert))  # noqa: SLF001 - the only way to a family's own activation
        else:
            inner = experts.act_fn(project(hidden[rows], "up_proj", expert))
        values = project(inner, "down_proj", expert) * weights[rows, places, None]
        total = total.index_add(0, rows, values.to(total.dtype))
    return total


def is_quantisable_experts(name: str, module: nn.Module) -> bool:
    """Returns whether ``module`` holds stacked experts that compute up, gate and down alone."""
    if not (hasattr(module, "has_gate") and hasattr(module, "is_transposed")):
        return False
    own = dict(module.named_parameters(recurse=False))
    stacks = [key for key in STACK_NAMES if key in own]
    are_large = all(is_quantisable(f"{name}.{key}", own[key].shape) for key in stacks)
    return len(stacks) == 2 and are_large and _computes_plainly(module)


def quantise_experts(module: nn.Module, build_matrix: Callable[[], ExpertMatrix]) -> None:
    """Turns an experts module without weights into one that quantises those it is given."""
    family = type(module)
    names = {"__module__": family.__module__, "__qualname__": family.__qualname__}
    module.__class__ = type(family.__name__, (QuantisedExperts, family), names)
    object.__setattr__(module, "build_matrix", build_matrix)
    setattr(module, IS_FILLED, True)


def _computes_plainly(module: nn.Module) -> bool:
    """Tries it on a module of the same type with two small experts."""
    if getattr(module, "has_post_expert_norm", False):
        return False
    # models are built without memory when this is asked
    with torch.device("cpu"), torch.no_grad():
        small = _shrink(module)
        generator = torch.Generator().manual_seed(1)
        # of a stated format: while a model is built, another one is usual
        rows = torch.randn(3, _PROBE_WIDTH, generator=generator, dtype=torch.float32)
        index = torch.tensor([[0, 1], [1, 0], [1, 0]])
        shares = torch.rand(3, 2, generator=generator, dtype=torch.float32)

        def project(inputs: Tensor, name: str, expert: int) -> Tensor:
            weight = getattr(small, name)[expert]
            bias = getattr(small, f"{name}_bias", None)
            output: Tensor = inputs @ (weight if small.is_transposed else weight.t())
            return output if bias is None else output + bias[expert]

        try:
            expected = small(rows, index, shares)
            found = compute_chosen(small, rows, index, shares, project)
        except (AttributeError, TypeError, ValueError, RuntimeError, KeyError):
            return False  # it computes something else, so that it stays as it is
        is_same = expected.shape == found.shape
        return is_same and torch.allclose(expected, found, rtol=1e-4, atol=1e-5)


def _shrink(module: nn.Module) -> Any:
    """Returns a module of the same type with two experts of random numbers, four wide."""
    small: Any = copy.copy(module)
    object.__setattr__(small, "_parameters", {})
    object.__setattr__(small, "_modules", dict(module._modules))  # noqa: SLF001 - a copy shares it
    generator = torch.Generator().manual_seed(0)
    count, width = _PROBE_EXPERTS, _PROBE_WIDTH
    first = "gate_up_proj" if small.has_gate else "up_proj"
    shapes = {first: (2 * width if small.has_gate else width, width), "down_proj": (width, width)}
    for name, (outputs, inputs) in shapes.items():
        shape = (inputs, outputs) if small.is_transposed else (outputs, inputs)
        weight = torch.randn(count, *shape, generator=generator, dtype=torch.float32)
        setattr(small, name, nn.Parameter(weight))
        if f"{name}_bias" in module._parameters:  # noqa: SLF001 - as above
            bias = torch.randn(count, outputs, generator=generator, dtype=torch.float32)
            setattr(small, f"{name}_bias", nn.Parameter(bias))
    small.num_experts = count
    return small
