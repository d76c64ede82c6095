"""Which modules of a model get an adapter, and with what rank and alpha."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn
from transformers.pytorch_utils import Conv1D

from studio.core.recipe.schema import AdapterSettings
from studio.core.weights.matching import Candidate, choose_modules, names_experts
from studio.engine.lora.experts import find_stacks
from studio.engine.quant import is_linear_map

Kind = Literal["linear", "conv1d", "conv2d", "embedding", "experts"]


@dataclass(frozen=True)
class TargetModule:
    """One module to adapt, with the rank and alpha that the recipe gives it."""

    name: str
    module: nn.Module
    kind: Kind
    rank: int
    alpha: float


def find_targets(model: nn.Module, settings: AdapterSettings) -> list[TargetModule]:
    """Returns the modules that ``settings`` ask to adapt, in the order of the model.

    ``all-linear`` leaves out the output head, every head that a task adds on top of the base model
    and layers that compute more than a linear map, as some routers do. A pattern may name heads
    and embeddings as well, and stacked experts if it contains the word ``experts``
    (``*.experts.*``). It is matched against the full name (``model.layers.*.mlp.*``) or against
    its end (``q_proj``, ``self_attn.q_proj``).

    Raises:
        RecipeInvalid: A pattern or an exception matches nothing, or a layer does not exist.
    """
    adaptable = find_adaptable(model)
    heads = find_heads(model)
    candidates = [
        Candidate(name, is_linear=is_linear_map(module), is_head=name in heads)
        for name, (module, kind) in adaptable.items()
        if kind != "experts" or names_experts(settings.targets)
    ]
    return [
        TargetModule(chosen.name, *adaptable[chosen.name], chosen.rank, chosen.alpha)
        for chosen in choose_modules(candidates, settings)
    ]


def find_adaptable(model: nn.Module) -> dict[str, tuple[nn.Module, Kind]]:
    """Returns every module of ``model`` that can carry an adapter, by name, heads included."""
    found: dict[str, tuple[nn.Module, Kind]] = {}
    for name, module in model.named_modules():
        kind = get_kind(module)
        if name and kind is not None:
            found[name] = (module, kind)
        for own_name, stack in find_stacks(module).items():
            found[f"{name}.{own_name}"] = (stack, "experts")
    return found


def get_kind(module: nn.Module) -> Kind | None:
    """Returns how ``module`` would be adapted, or None where it cannot be."""
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, Conv1D):
        return "conv1d"
    if isinstance(module, nn.Conv2d):
        return "conv2d"
    if isinstance(module, nn.Embedding):
        return "embedding"
    return None


def find_heads(model: nn.Module) -> set[str]:
    """Returns the names of modules above the base model, and of the output head."""
    base = getattr(model, "base_model", model)
    get_output = getattr(model, "get_output_embeddings", None)
    output = get_output() if callable(get_output) else None
    inside = set((base if isinstance(base, nn.Module) else model).modules())
    return {
        name for name, module in model.named_modules() if module is output or module not in inside
    }
