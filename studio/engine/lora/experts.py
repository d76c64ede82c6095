"""Low-rank updates of experts whose weights are stacked into one tensor per projection."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import nn

from studio.core.errors import ModelUnusable, NotAvailableYet
from studio.engine.held.experts import (
    STACK_NAMES,
    compute_chosen,
    find_held_stack,
    hold_held_expert,
)
from studio.engine.held.product import frozen_product
from studio.engine.lora.adapted import AdaptedModule
from studio.engine.lora.function import adapted_linear
from studio.engine.lora.wrapped import WrappedModule
from studio.engine.quant import FrozenLinear
from studio.engine.quant.none import PlainLinear, TransposedLinear


class ExpertStack(nn.Module):
    """One stacked parameter of an experts module, ``(experts, out, in)`` or ``(experts, in, out)``.

    ``owner`` is the experts module, which stays where it is in the model.
    """

    def __init__(self, owner: nn.Module, name: str) -> None:
        super().__init__()
        self._owner = [owner]  # in a list: no submodule of this one
        self.name = name
        self.held = held = find_held_stack(owner, name)
        # what is held in few bits stays with its owner; only where it lies is told
        place = held[0].frozen.device if held else None
        self.weight = cast(
            torch.Tensor, torch.empty(0, device=place) if held else getattr(owner, name)
        )
        self.is_transposed = bool(getattr(owner, "is_transposed", False)) and not held

    @property
    def owner(self) -> nn.Module:
        """The experts module."""
        return self._owner[0]

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The number of experts, the width of the output and of the input."""
        if self.held:
            return (len(self.held), *self.held[0].get_held().shape)
        experts, first, second = self.weight.shape
        return (experts, second, first) if self.is_transposed else (experts, first, second)

    @property
    def compute_dtype(self) -> torch.dtype:
        """The format in which the experts compute."""
        return self.held[0].compute_dtype if self.held else self.weight.dtype

    def get_weight(self) -> torch.Tensor:
        """Returns the weights of all experts in fp32, in the layout of the model's own stack."""
        if not self.held:
            return self.weight.detach().float()
        is_turned = bool(getattr(self.owner, "is_transposed", False))
        weights = [one.get_held().unfold() for one in self.held]
        return torch.stack([weight.t() if is_turned else weight for weight in weights])


class AdaptedStack(AdaptedModule):
    """One update per expert: A is ``(experts * rank, in)``, B ``(out, rank * experts)``.

    The rows of A count experts first, the columns of B ranks first, as in PEFT's files.

    Raises:
        NotAvailableYet: The variant learns lengths.
    """

    def __init__(self, base: nn.Module, **settings: Any) -> None:
        stack = cast(ExpertStack, base)
        experts, out_features, in_features = stack.sizes
        super().__init__(base, in_features, out_features, **settings | {"dropout": 0.0})
        if self.lora_magnitude is not None:
            raise NotAvailableYet(
                "The variant dora is not available for stacked experts.",
                "Choose plain or rslora, or leave the experts out of the target modules.",
            )
        count = experts * self.rank
        self.lora_A = nn.Parameter(self.lora_A.new_zeros(count, in_features))
        self.lora_B = nn.Parameter(self.lora_B.new_zeros(out_features, count))
        self._experts = experts

    def set_start(self, start_a: torch.Tensor, start_b: torch.Tensor) -> None:
        """Refuses: every expert would need a decomposition of its own.

        Raises:
            NotAvailableYet: Always.
        """
        del start_a, start_b
        raise _refuse_init()

    def get_expert_factors(self, expert: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns A ``(rank, in)`` and B ``(out, rank)`` of one expert."""
        first = expert * self.rank
        return self.lora_A[first : first + self.rank], self.lora_B[:, expert :: self._experts]

    def get_base_matrix(self) -> torch.Tensor:
        """Refuses, see ``set_start``.

        Raises:
            NotAvailableYet: Always.
        """
        raise _refuse_init()

    def get_delta(self) -> torch.Tensor:
        """Returns the updates of all experts in fp32, in the layout of the stacked weights."""
        deltas = []
        for expert in range(self._experts):
            lora_a, lora_b = self.get_expert_factors(expert)
            delta = lora_b.detach().float() @ lora_a.detach().float() * self.scaling
            owner = cast(ExpertStack, self.base).owner
            deltas.append(delta.t() if getattr(owner, "is_transposed", False) else delta)
        return torch.stack(deltas)

    def get_merged_weight(self) -> torch.Tensor:
        """Returns the stacked weights plus the updates in fp32."""
        return cast(ExpertStack, self.base).get_weight() + self.get_delta()


class AdaptedExperts(WrappedModule):
    """An experts module that computes only the chosen experts of each token, with their updates.

    Raises:
        ModelUnusable: The experts compute something else than up, gate and down.
    """

    def __init__(self, base: nn.Module, stacks: Mapping[str, AdaptedStack]) -> None:
        super().__init__(base)
        self.stacks = nn.ModuleDict()
        self._check_same_function(next(iter(stacks.values())))
        self.stacks.update(stacks)

    def forward(self, hidden: torch.Tensor, *routing: Any, **named: Any) -> torch.Tensor:
        """Returns ``(tokens, width)``; the routing is the chosen experts and their weights.

        Both are ``(tokens, chosen)``.
        """
        index, weights = (*routing, *named.values())
        if not self.is_enabled:
            output: torch.Tensor = self.base(hidden, index, weights)
            return output
        return compute_chosen(self.base, hidden, index, weights, self._project)

    def iter_trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yields nothing: the stacks are the adapter's own modules."""
        return iter(())

    def _project(self, x: torch.Tensor, name: str, expert: int) -> torch.Tensor:
        frozen = _hold_expert(self.base, name, expert)
        if name not in self.stacks:
            # what is unfolded must be unfolded again on the way back
            is_held = bool(find_held_stack(self.base, name))
            return frozen_product(x, frozen) if is_held else frozen.project(x)
        stack = cast(AdaptedStack, self.stacks[name])
        return adapted_linear(x, frozen, *stack.get_expert_factors(expert), stack.scaling)

    @torch.no_grad()
    def _check_same_function(self, adapted: AdaptedStack) -> None:
        """Compare on two rows, before there is any update."""
        stack = cast(ExpertStack, adapted.base)
        weight = stack.weight
        if weight.device.type == "meta":
            return
        experts = stack.sizes[0]
        rows = torch.linspace(-1.0, 1.0, 2 * _get_width(self.base), device=weight.device)
        rows = rows.reshape(2, -1).to(stack.compute_dtype)
        index = torch.tensor([[0], [experts - 1]], device=weight.device)
        share = torch.full((2, 1), 0.5, device=weight.device, dtype=rows.dtype)
        if getattr(self.base, "has_post_expert_norm", False) or not torch.allclose(
            self.base(rows, index, share), self(rows, index, share), rtol=1e-2, atol=1e-3
        ):
            raise ModelUnusable(
                f"Experts of type {type(self.base).__name__} compute more than three projections, "
                "so that an adapter on them would be wrong.",
                "Leave the experts out of the target modules.",
            )


def find_stacks(module: nn.Module) -> dict[str, ExpertStack]:
    """Returns the stacked parameters of ``module`` by name, none where it holds no experts."""
    if not (hasattr(module, "has_gate") and hasattr(module, "is_transposed")):
        return {}
    own = dict(module.named_parameters(recurse=False))
    return {
        name: ExpertStack(module, name)
        for name in STACK_NAMES
        if (name in own and own[name].ndim == 3) or find_held_stack(module, name)
    }


def group_stacks(modules: Mapping[str, AdaptedModule]) -> dict[str, AdaptedExperts]:
    """Returns the experts modules that the stacks among ``modules`` belong to, by full name."""
    groups: dict[str, dict[str, AdaptedStack]] = {}
    for name, module in modules.items():
        if isinstance(module, AdaptedStack):
            owner, _, last = name.rpartition(".")
            groups.setdefault(owner, {})[last] = module
    return {
        owner: AdaptedExperts(cast(ExpertStack, next(iter(stacks.values())).base).owner, stacks)
        for owner, stacks in groups.items()
    }


def get_stack_file_name(name: str, adapted: Collection[str]) -> str:
    """Returns what PEFT's files call the stack ``name``: the last of a module has its bare name."""
    owner, _, last = name.rpartition(".")
    own = [stack for stack in STACK_NAMES if f"{owner}.{stack}" in adapted]
    return owner + ".base_layer" * (len(own) - 1 - own.index(last))


def _hold_expert(module: nn.Module, name: str, expert: int) -> FrozenLinear:
    if find_held_stack(module, name):
        return hold_held_expert(module, name, expert)
    biases = getattr(module, f"{name}_bias", None)
    weight = cast(torch.Tensor, getattr(module, name))[expert]
    part = SimpleNamespace(weight=weight, bias=None if biases is None else biases[expert])
    kind = TransposedLinear if getattr(module, "is_transposed", False) else PlainLinear
    return kind(cast(nn.Module, part))


def _get_width(module: nn.Module) -> int:
    stack = ExpertStack(module, "gate_up_proj" if hasattr(module, "gate_up_proj") else "up_proj")
    return stack.sizes[2]


def _refuse_init() -> NotAvailableYet:
    return NotAvailableYet(
        "Stacked experts cannot start from their own weights (pissa, olora).",
        "Choose kaiming, or leave the experts out of the target modules.",
    )
