"""Puts a new or a saved adapter into a model, as a recipe says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from studio.core.errors import RecipeInvalid
from studio.core.recipe.schema import AdapterSettings
from studio.core.weights.adapter_file import SeenBase
from studio.core.weights.matching import is_everything
from studio.engine.held.layer import find_quantisation
from studio.engine.lora.adapter import Adapter, build_adapted, check_bare
from studio.engine.lora.extra import build_extras, find_all_modules, find_extra_modules
from studio.engine.lora.gated_mlp import join_gated_mlps
from studio.engine.lora.inits import get_init
from studio.engine.lora.linear import keep_zeros
from studio.engine.lora.state import load_adapter
from studio.engine.lora.targets import find_targets
from studio.engine.lora.tokens import build_new_tokens
from studio.engine.models.rms_norm import join_norms


def inject(
    model: nn.Module, settings: AdapterSettings, *, seed: int, token_ids: Sequence[int] = ()
) -> Adapter:
    """Returns an attached adapter on ``model``, whose own weights are all frozen from now on.

    The start values depend on ``seed`` and the model's shape only, not on the device. With
    ``resume_from`` the saved adapter decides rank, alpha and modules. Modules that are trained in
    full carry no adapter. The rank ``full`` trains the targets themselves, with ``all-linear`` in
    all layers every weight of the model, and no adapter. ``token_ids`` are tokens whose own
    vectors are trained.

    Raises:
        RecipeInvalid: A pattern matches nothing, a layer or a token does not exist, or a table
            would be trained in two ways.
        NotAvailableYet: A setting whose engine part is not built yet.
        AdapterUnusable: ``resume_from`` does not belong to this model.
    """
    if settings.resume_from is not None:
        return _go_on(model, settings, Path(settings.resume_from))
    check_bare(model)
    init = get_init(settings.init)
    extras = find_extra_modules(model, settings.extra_modules)
    targets = find_targets(model, settings)
    if settings.rank == "full":
        chosen = {target.name: target.module for target in targets}
        extras = find_all_modules(model) if is_everything(settings) else {**chosen, **extras}
        targets = []
    modules = {
        target.name: build_adapted(
            target.module,
            target.kind,
            rank=target.rank,
            alpha=target.alpha,
            dropout=settings.dropout,
            variant=settings.variant,
        )
        for target in targets
        if not any(f"{target.name}.".startswith(f"{name}.") for name in extras)
    }
    if settings.keep_zeros:
        keep_zeros(modules.values())
    generator = torch.Generator().manual_seed(seed)
    for module in modules.values():
        if module.lora_A.device.type != "meta":
            init.initialise(module, generator)
            module.set_magnitude()
    adapter = Adapter(
        model,
        modules,
        variant=settings.variant,
        init=settings.init,
        extras=build_extras(model, extras, keeps_ties=settings.rank == "full"),
        tokens=build_new_tokens(model, token_ids, [*modules, *extras]) if token_ids else {},
        keeps_ties=settings.rank == "full",
        seen=SeenBase(find_quantisation(model), settings.init == "loftq", settings.keep_zeros),
    )
    _check_disjoint(adapter)
    adapter.attach()
    _join(model)
    return adapter


def _go_on(model: nn.Module, settings: AdapterSettings, folder: Path) -> Adapter:
    adapter = load_adapter(model, folder, dropout=settings.dropout)
    if settings.keep_zeros and not adapter.seen.keeps_zeros:
        keep_zeros(adapter.modules.values())
        adapter.seen = replace(adapter.seen, keeps_zeros=True)
    _join(model)
    return adapter


def _join(model: nn.Module) -> None:
    """Lets the parts of the layers compute in few functions, which keep little."""
    join_gated_mlps(model)
    join_norms(model)


def _check_disjoint(adapter: Adapter) -> None:
    for name in adapter.tokens:
        if name in adapter.modules or any(
            f"{name}.".startswith(f"{extra}.") for extra in adapter.extras
        ):
            raise RecipeInvalid(
                f"adapter.trained_tokens: {name} is trained in another way already.",
                f"Take {name} out of the target modules and of the modules trained in full, or "
                "leave the list of tokens empty.",
            )
    if not adapter.modules and not adapter.keeps_ties:
        raise RecipeInvalid(
            "adapter.extra_modules: nothing is left for the adapter, because all target modules "
            "are trained in full.",
            "Set the rank to full, or name fewer modules.",
        )
