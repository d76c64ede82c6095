"""Which modules of a model get an adapter, and with what rank and alpha."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import nn
from transformers.pytorch_utils import Conv1D

from studio.core.errors import RecipeInvalid
from studio.core.recipe.schema import AdapterOverride, AdapterSettings
from studio.engine.lora.layers import select_layers, split_layer

Kind = Literal["linear", "conv1d", "embedding"]

# Segments of a module's name inside its layer; checked against the families in the tests.
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_MLP = re.compile(
    r"mlp|ffn|feed_?forward|moe|expert|^fc\d*$|^ff$|^intermediate$|^output$|^dense_h_to|^w[123]$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class TargetModule:
    """One module to adapt. ``layer`` is its decoder layer, or None outside of the layers."""

    name: str
    module: nn.Module
    kind: Kind
    rank: int
    alpha: float
    layer: int | None


def find_targets(model: nn.Module, settings: AdapterSettings) -> list[TargetModule]:
    """Returns the modules that ``settings`` ask to adapt, in the order of the model.

    ``all-linear`` leaves out the output head and every head that a task adds on top of the base
    model; a pattern may name them, and embeddings as well. A pattern is matched against the full
    name (``model.layers.*.mlp.*``) or against its end (``q_proj``, ``self_attn.q_proj``).

    Raises:
        RecipeInvalid: A pattern or an exception matches nothing, or a layer does not exist.
    """
    adaptable = find_adaptable(model)
    chosen = _choose(model, adaptable, settings)
    numbers = {layer for layer, _ in map(split_layer, adaptable) if layer is not None}
    layer_count = 1 + max(numbers, default=-1)
    if settings.layers != "all":
        layers = select_layers(settings.layers, layer_count)
        kept = [name for name in chosen if split_layer(name)[0] in layers]
        if not kept:
            raise RecipeInvalid(
                "adapter: none of the target modules is in the chosen layers.",
                "Choose other layers, or other target modules.",
            )
        chosen = kept
    _check_overrides(settings.overrides, chosen)
    return [_build_target(name, adaptable[name], settings) for name in chosen]


def find_adaptable(model: nn.Module) -> dict[str, nn.Module]:
    """Returns every module of ``model`` that can carry an adapter, by name, heads included."""
    return {
        name: module
        for name, module in model.named_modules()
        if name and get_kind(module) is not None
    }


def get_kind(module: nn.Module) -> Kind | None:
    """Returns how ``module`` would be adapted, or None where it cannot be."""
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, Conv1D):
        return "conv1d"
    if isinstance(module, nn.Embedding):
        return "embedding"
    return None


def is_match(pattern: str, name: str) -> bool:
    """Returns whether ``pattern`` is the name's end, or matches all of it with ``*`` and ``?``."""
    return name == pattern or name.endswith(f".{pattern}") or fnmatch.fnmatchcase(name, pattern)


def name_nearest(pattern: str, names: Iterable[str]) -> str:
    """Returns a sentence with the known names that look most like ``pattern``."""
    candidates: dict[str, None] = {}
    for name in names:
        candidates.setdefault(name.rsplit(".", 1)[-1])
    for name in names:
        candidates.setdefault(name)
    near = difflib.get_close_matches(pattern, candidates, n=4, cutoff=0.4)
    return f"Close names in this model: {', '.join(near or list(candidates)[:8])}."


def _choose(
    model: nn.Module, adaptable: Mapping[str, nn.Module], settings: AdapterSettings
) -> list[str]:
    targets = settings.targets
    if not isinstance(targets, str):
        return _match_patterns(targets, adaptable)
    heads = _find_heads(model)
    linear = [
        name
        for name, module in adaptable.items()
        if get_kind(module) != "embedding" and name not in heads
    ]
    if targets == "all-linear":
        chosen = linear
    else:
        chosen = [name for name in linear if _get_part(name) == targets]
    if not chosen:
        raise RecipeInvalid(
            f"adapter.targets: no {targets} layer was found in this model.",
            f"Name the modules by patterns. {name_nearest(targets, adaptable)}",
        )
    return chosen


def _match_patterns(patterns: tuple[str, ...], adaptable: Mapping[str, nn.Module]) -> list[str]:
    if not patterns:
        raise RecipeInvalid(
            "adapter.targets: the list of target modules is empty.",
            "Choose all-linear, or name at least one pattern.",
        )
    for pattern in patterns:
        if not any(is_match(pattern, name) for name in adaptable):
            raise RecipeInvalid(
                f"adapter.targets: {pattern!r} matches no layer that can be adapted.",
                name_nearest(pattern, adaptable),
            )
    return [name for name in adaptable if any(is_match(pattern, name) for pattern in patterns)]


def _find_heads(model: nn.Module) -> set[str]:
    """Returns the names of modules above the base model, and of the output head."""
    base = getattr(model, "base_model", model)
    get_output = getattr(model, "get_output_embeddings", None)
    output = get_output() if callable(get_output) else None
    if not isinstance(base, nn.Module) or base is model:
        inside = set(model.modules())
    else:
        inside = set(base.modules())
    return {
        name for name, module in model.named_modules() if module is output or module not in inside
    }


def _get_part(name: str) -> Literal["attention", "mlp"] | None:
    layer, inner = split_layer(name)
    if layer is None:
        return None
    segments = inner.split(".")
    if any(_ATTENTION.search(segment) for segment in segments):
        return "attention"
    return "mlp" if any(_MLP.search(segment) for segment in segments) else None


def _check_overrides(overrides: tuple[AdapterOverride, ...], chosen: list[str]) -> None:
    for override in overrides:
        if not any(is_match(override.match, name) for name in chosen):
            raise RecipeInvalid(
                f"adapter.overrides: {override.match!r} matches none of the target modules.",
                name_nearest(override.match, chosen),
            )


def _build_target(name: str, module: nn.Module, settings: AdapterSettings) -> TargetModule:
    kind = get_kind(module)
    if kind is None:
        raise LookupError(f"{name} cannot be adapted")
    rank, alpha = settings.rank, settings.alpha
    for override in settings.overrides:
        if is_match(override.match, name):
            rank = override.rank or rank
            alpha = override.alpha or alpha
            break
    return TargetModule(name, module, kind, rank, alpha, split_layer(name)[0])
