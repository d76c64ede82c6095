"""Puts a new or a saved adapter into a model, as a recipe says."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from studio.core.errors import NotAvailableYet
from studio.core.recipe.schema import AdapterSettings
from studio.engine.lora.adapter import Adapter, build_adapted, check_bare
from studio.engine.lora.inits import get_init
from studio.engine.lora.state import load_adapter
from studio.engine.lora.targets import find_targets


def inject(model: nn.Module, settings: AdapterSettings, *, seed: int) -> Adapter:
    """Returns an attached adapter on ``model``, whose own weights are all frozen from now on.

    The start values depend on ``seed`` and the model's shape only, not on the device. With
    ``resume_from`` the saved adapter decides rank, alpha and modules.

    Raises:
        RecipeInvalid: A pattern matches nothing, or a layer does not exist.
        NotAvailableYet: A setting whose engine part is not built yet.
        AdapterUnusable: ``resume_from`` does not belong to this model.
    """
    if settings.extra_modules:
        raise NotAvailableYet(
            "Training whole modules along with the adapter (adapter.extra_modules: "
            f"{', '.join(settings.extra_modules)}) is not available yet.",
            "Leave the list empty.",
        )
    if settings.resume_from is not None:
        return load_adapter(model, Path(settings.resume_from), dropout=settings.dropout)
    check_bare(model)
    init = get_init(settings.init)
    modules = {
        target.name: build_adapted(
            target.module,
            target.kind,
            rank=target.rank,
            alpha=target.alpha,
            dropout=settings.dropout,
            variant=settings.variant,
        )
        for target in find_targets(model, settings)
    }
    generator = torch.Generator().manual_seed(seed)
    for module in modules.values():
        if module.lora_A.device.type != "meta":
            init.initialise(module, generator)
    adapter = Adapter(model, modules, variant=settings.variant, init=settings.init)
    adapter.attach()
    return adapter
