"""Which modules a recipe means, decided from their names alone; window and engine both ask here."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from studio.core.errors import RecipeInvalid
from studio.core.recipe.problem import Problem, build_refusal
from studio.core.recipe.schema import AdapterSettings

Part = Literal["attention", "mlp"]

_NUMBERED = re.compile(r"(?:^|.*?\.)[A-Za-z_]\w*\.(?P<index>\d+)\.(?P<inner>.+)$")
_RANGE = re.compile(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?")
_WIDEST_RANGE = 100_000  # more layers than there are; wider ranges would only burn memory
# Segments of a module's name inside its layer; checked against the families in the tests.
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_MLP = re.compile(
    r"mlp|ffn|feed_?forward|moe|expert|^fc\d*$|^ff$|^intermediate$|^output$|^dense_h_to|^w[123]$",
    re.IGNORECASE,
)
# Segments of the parts that models for images and sound have beside the one for text.
_BESIDE_TEXT = re.compile(r"vision|visual|image|audio|speech|multi_modal|modality", re.IGNORECASE)


@dataclass(frozen=True)
class Candidate:
    """A module that could carry an adapter. ``is_head``: it sits above the base model."""

    name: str
    is_linear: bool = True
    is_head: bool = False


@dataclass(frozen=True)
class ChosenModule:
    """A module that gets an adapter, of this rank and alpha; rank 0 is trained in full."""

    name: str
    rank: int
    alpha: float


def names_experts(targets: str | Sequence[str]) -> bool:
    """Return whether a pattern names experts; only such patterns reach stacked experts.

    Stacked experts are parameters, not modules: ``*`` leaves them out, ``*.experts.*`` means them.
    """
    return not isinstance(targets, str) and any("experts" in pattern for pattern in targets)


def choose_modules(
    candidates: Sequence[Candidate], settings: AdapterSettings
) -> list[ChosenModule]:
    """Return the modules that ``settings`` ask to adapt, in the order of ``candidates``.

    ``all-linear`` leaves out heads and embeddings, but not with the rank ``full``, where it means
    the whole model; a pattern may name them. What models for images and sound have beside their
    part for text is chosen only by a pattern that names it: training on text does not reach it.

    Raises:
        RecipeInvalid: A pattern or an exception matches nothing, or a layer does not exist.
    """
    if is_everything(settings):
        return [ChosenModule(candidate.name, 0, settings.alpha) for candidate in candidates]
    if not _names_beside_text(settings.targets):
        candidates = [one for one in candidates if not is_beside_text(one.name)]
    names = [candidate.name for candidate in candidates]
    chosen = _choose_targets(candidates, names, settings.targets)
    layers = select_layers(settings.layers, count_layers(names))
    if layers is not None:
        chosen = [name for name in chosen if split_layer(name)[0] in layers]
        if not chosen:
            raise _refuse(
                "adapter.layers",
                "none of the target modules is in the chosen layers.",
                "Choose other layers, or other target modules.",
            )
    for index, override in enumerate(settings.overrides):
        if not any(is_match(override.match, name) for name in chosen):
            raise _refuse(
                f"adapter.overrides[{index}].match",
                f"{override.match!r} matches none of the target modules.",
                name_nearest(override.match, chosen),
            )
    return [_apply_overrides(name, settings) for name in chosen]


def is_everything(settings: AdapterSettings) -> bool:
    """Return whether every weight of the model is trained and there is no adapter."""
    return (settings.rank, settings.targets, settings.layers) == ("full", "all-linear", "all")


@lru_cache(maxsize=65536)
def is_beside_text(name: str) -> bool:
    """Return whether a module belongs to the part of a model that reads images or sound."""
    return any(_BESIDE_TEXT.search(segment) for segment in name.split("."))


def is_match(pattern: str, name: str) -> bool:
    """Return whether ``pattern`` is the name's end, or matches all of it with ``*`` and ``?``."""
    return name == pattern or name.endswith(f".{pattern}") or fnmatch.fnmatchcase(name, pattern)


@lru_cache(maxsize=65536)
def split_layer(name: str) -> tuple[int | None, str]:
    """Return the number of the layer that module ``name`` is in, and its name inside that layer.

    The first number in the name counts: experts inside a layer have numbers of their own. Outside
    of numbered layers the answer is ``(None, name)``.
    """
    match = _NUMBERED.match(name)
    return (int(match["index"]), match["inner"]) if match else (None, name)


@lru_cache(maxsize=65536)
def get_part(name: str) -> Part | None:
    """Return which part of its layer a module belongs to; None outside layers or if unknown."""
    layer, inner = split_layer(name)
    if layer is None:
        return None
    segments = inner.split(".")
    if any(_ATTENTION.search(segment) for segment in segments):
        return "attention"
    return "mlp" if any(_MLP.search(segment) for segment in segments) else None


def count_layers(names: Iterable[str]) -> int:
    """Return how many numbered layers the modules with these names form."""
    return 1 + max(
        (layer for name in names if (layer := split_layer(name)[0]) is not None), default=-1
    )


def select_layers(setting: str | tuple[int, ...], layer_count: int) -> frozenset[int] | None:
    """Return the layer numbers that ``setting`` names, out of ``layer_count``; None means all.

    Raises:
        RecipeInvalid: The text cannot be read, or a layer does not exist.
    """
    chosen = parse_layers(setting)
    missing = sorted((chosen or frozenset()) - frozenset(range(layer_count)))
    if missing:
        raise _refuse(
            "adapter.layers",
            f"layer {missing[0]} does not exist, the model has {layer_count} layers counted "
            "from 0.",
            f"Choose numbers from 0 to {layer_count - 1}, or all."
            if layer_count
            else "Write all: this model has no numbered layers.",
        )
    return chosen


def parse_layers(setting: str | tuple[int, ...]) -> frozenset[int] | None:
    """Return the layer numbers written as ``8-23``, ``0,2,5-7`` or numbers; None means ``all``.

    Raises:
        RecipeInvalid: The text cannot be read, or names no layer.
    """
    if isinstance(setting, tuple):
        if not setting or min(setting) < 0:
            raise _refuse(
                "adapter.layers",
                "names no layer." if not setting else f"{min(setting)} is no layer number.",
                "Choose numbers from 0 on, or all.",
            )
        return frozenset(setting)
    if setting.strip() == "all":
        return None
    chosen: set[int] = set()
    for part in setting.split(","):
        match = _RANGE.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < first + _WIDEST_RANGE:
            raise _refuse(
                "adapter.layers",
                f"{setting[:60]!r} cannot be read as layer numbers.",
                "Write all, a range such as 8-23, or numbers and ranges such as 0,2,5-7.",
            )
        chosen.update(range(first, last + 1))
    return frozenset(chosen)


def name_nearest(pattern: str, names: Iterable[str]) -> str:
    """Return a sentence with the known names that look most like ``pattern``."""
    everything = list(names)
    candidates = list(dict.fromkeys([name.rpartition(".")[2] for name in everything] + everything))
    near = difflib.get_close_matches(pattern, candidates, n=4, cutoff=0.4)
    return f"Close names in this model: {', '.join(near or candidates[:8])}."


def _names_beside_text(targets: str | Sequence[str]) -> bool:
    return not isinstance(targets, str) and any(is_beside_text(one) for one in targets)


def _choose_targets(
    candidates: Sequence[Candidate], names: list[str], targets: str | tuple[str, ...]
) -> list[str]:
    if isinstance(targets, str):
        linear = [c.name for c in candidates if c.is_linear and not c.is_head]
        chosen = [name for name in linear if targets in ("all-linear", get_part(name))]
        if not chosen:
            raise _refuse(
                "adapter.targets",
                f"no {targets} layer was found in this model.",
                f"Name the modules by patterns. {name_nearest(targets, names)}",
            )
        return chosen
    if not targets:
        raise _refuse(
            "adapter.targets",
            "the list of target modules is empty.",
            "Choose all-linear, or name at least one pattern.",
        )
    for pattern in targets:
        if not any(is_match(pattern, name) for name in names):
            raise _refuse(
                "adapter.targets",
                f"{pattern!r} matches no layer that can be adapted.",
                name_nearest(pattern, names),
            )
    return [name for name in names if any(is_match(pattern, name) for pattern in targets)]


def _apply_overrides(name: str, settings: AdapterSettings) -> ChosenModule:
    if settings.rank == "full":
        return ChosenModule(name, 0, settings.alpha)
    for override in settings.overrides:
        if is_match(override.match, name):
            return ChosenModule(
                name, override.rank or settings.rank, override.alpha or settings.alpha
            )
    return ChosenModule(name, settings.rank, settings.alpha)


def _refuse(path: str, message: str, remedy: str) -> RecipeInvalid:
    return build_refusal([Problem(path, message, remedy)])
