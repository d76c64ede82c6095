"""An adapter as a whole: what is trained, put into a model and taken out again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from studio.core.weights.adapter_file import SeenBase
from studio.engine.lora.adapted import AdaptedModule
from studio.engine.lora.conv1d import AdaptedConv1D
from studio.engine.lora.convolution import AdaptedConv2d
from studio.engine.lora.embedding import AdaptedEmbedding
from studio.engine.lora.experts import AdaptedStack, group_stacks
from studio.engine.lora.extra import TrainedModule
from studio.engine.lora.linear import AdaptedLinear
from studio.engine.lora.targets import Kind
from studio.engine.lora.tokens import TrainedTokens
from studio.engine.lora.wrapped import WrappedModule

_KINDS: dict[Kind, Callable[..., AdaptedModule]] = {
    "linear": AdaptedLinear,
    "conv1d": AdaptedConv1D,
    "conv2d": AdaptedConv2d,
    "embedding": AdaptedEmbedding,
    "experts": AdaptedStack,
}


class Adapter:
    """What is trained on one model, by the names that the modules have in it.

    ``modules`` carry a low-rank update, ``extras`` are trained in full, and of the tables in
    ``tokens`` only some rows are trained. ``keeps_ties``: a weight that modules in full share
    with others is trained once for all of them. ``seen`` is how the base is held.

    Several adapters can be built for one model; attach the one that is wanted and detach it
    before the next.
    """

    def __init__(
        self,
        model: nn.Module,
        modules: dict[str, AdaptedModule],
        *,
        variant: str,
        init: str,
        extras: dict[str, TrainedModule] | None = None,
        tokens: dict[str, TrainedTokens] | None = None,
        keeps_ties: bool = False,
        seen: SeenBase | None = None,
    ) -> None:
        self.model = model
        self.modules = modules
        self.experts = group_stacks(modules)
        self.extras = extras or {}
        self.tokens = tokens or {}
        self.keeps_ties = keeps_ties
        self.seen = seen or SeenBase()
        self.variant = variant
        self.init = init
        self.is_attached = False

    @property
    def wrapped(self) -> dict[str, WrappedModule]:
        """Everything that stands in the place of a module of the model, by name."""
        layers = {
            name: module
            for name, module in self.modules.items()
            if not isinstance(module, AdaptedStack)
        }
        return {**layers, **self.experts, **self.extras, **self.tokens}

    @property
    def trainable_parameters(self) -> int:
        """The count of numbers that training changes."""
        return sum(parameter.numel() for parameter in self.parameters())

    def parameters(self) -> list[nn.Parameter]:
        """Returns all that training changes, in the order of the model, A before B."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yields each trainable matrix with its name, for example ``….q_proj.lora_A``."""
        for name, module in {**self.modules, **self.extras, **self.tokens}.items():
            for own_name, parameter in module.iter_trainable():
                yield f"{name}.{own_name}", parameter

    def attach(self) -> None:
        """Freezes the model and puts the trained modules in the place of their bases.

        Raises:
            RuntimeError: Another adapter is attached.
        """
        check_bare(self.model)
        self.model.requires_grad_(False)
        self._swap({id(module.base): module for module in self.wrapped.values()})
        for parameter in self.parameters():
            parameter.requires_grad_(True)
        self.is_attached = True

    def detach(self) -> None:
        """Puts the bases back; the model is as it was, still frozen, and the adapter is kept."""
        self._swap({id(module): module.base for module in self.wrapped.values()})
        self.is_attached = False

    def leave_out(self, names: Iterable[str]) -> None:
        """Takes modules with a low-rank update out of the attached adapter, by name."""
        self.detach()
        for name in names:
            del self.modules[name]
        self.attach()

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Lets the model answer as its base inside the block."""
        before = [(module, module.is_enabled) for module in self.wrapped.values()]
        try:
            for module, _ in before:
                module.is_enabled = False
            yield
        finally:
            for module, is_enabled in before:
                module.is_enabled = is_enabled

    def _swap(self, replacements: dict[int, nn.Module]) -> None:
        # Every place counts: a layer that is shared has one object under several names.
        places = [
            (parent, name, child)
            for parent in self.model.modules()
            if not isinstance(parent, WrappedModule)
            for name, child in parent.named_modules(remove_duplicate=False)
            if name and "." not in name and id(child) in replacements
        ]
        for parent, name, child in places:
            setattr(parent, name, replacements[id(child)])


def check_bare(model: nn.Module) -> None:
    """Returns quietly when no adapter is attached to ``model``.

    Raises:
        RuntimeError: One is; the caller has to detach it first.
    """
    if any(isinstance(module, WrappedModule) for module in model.modules()):
        raise RuntimeError("an adapter is attached to this model; detach it first")


def build_adapted(
    base: nn.Module,
    kind: Kind,
    *,
    rank: int,
    alpha: float,
    dropout: float = 0.0,
    variant: str = "plain",
    dtype: torch.dtype = torch.float32,
) -> AdaptedModule:
    """Returns ``base`` with an update of nothing beside it, on the device of ``base``.

    Raises:
        NotAvailableYet: The weights are stored in a way that this version cannot adapt.
        ModelUnusable: The layer computes something else than its type promises.
    """
    build = _KINDS[kind]
    adapted = build(base, rank=rank, alpha=alpha, dropout=dropout, variant=variant, dtype=dtype)
    return adapted.train(base.training)
