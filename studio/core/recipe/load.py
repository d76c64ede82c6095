"""Recipes from files and plain values; every fault is told with its key, reason and remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from studio.core.errors import FileUnusable, RecipeInvalid
from studio.core.files import get_file_error
from studio.core.recipe.fields import get_field_table
from studio.core.recipe.plain import get_plain
from studio.core.recipe.problem import Problem, build_refusal
from studio.core.recipe.schema import Recipe
from studio.core.recipe.upgrade import upgrade_mapping
from studio.core.recipe.violations import (
    build_problems,
    build_unavailable,
    find_nearest_key,
    get_generic_path,
)
from studio.core.recipe.yaml_text import parse_yaml
from studio.core.weights.matching import parse_layers

MAX_RECIPE_BYTES = 1_000_000
_TEXT_KINDS = ("text", "model", "file", "folder", "template", "layers")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d{1,6})\]")


def load_recipe(path: Path) -> Recipe:
    """Return the recipe written in a YAML file.

    Raises:
        FileUnusable: The file is missing, unreadable or too large.
        RecipeInvalid: It is no recipe; ``problems`` names every key that is wrong.
        NotAvailableYet: It asks for something this version cannot do.
    """
    try:
        size_bytes = path.stat().st_size
        if size_bytes > MAX_RECIPE_BYTES:
            raise FileUnusable(
                f"{path} is too large for a recipe ({size_bytes / 1e6:.1f} MB).",
                "Choose a recipe file; training data is named in it, not written into it.",
            )
        content = path.read_bytes()
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeInvalid(
            f"{path.name} is not a text file.", "Choose a recipe, or save the file as UTF-8."
        ) from error
    raw = parse_yaml(text, path.name)
    if raw is None:
        raise RecipeInvalid(
            f"{path.name} is empty.", "A recipe needs at least base.model and data.train."
        )
    if not isinstance(raw, Mapping):
        raise RecipeInvalid(
            f"{path.name} is not a recipe: it holds no settings.",
            "A recipe has lines such as 'name: my-run' and groups such as 'base:'.",
        )
    return parse_recipe(raw)


def parse_recipe(mapping: Mapping[str, Any]) -> Recipe:
    """Return the recipe that plain values (mappings, lists, texts, numbers) describe.

    Raises:
        RecipeInvalid: A rule is broken; ``problems`` names every key that is wrong.
        NotAvailableYet: All rules are kept, but a value is not supported by this version.
    """
    raw, problems = get_plain(upgrade_mapping(mapping))
    unavailable = build_unavailable(raw)
    recipe = None
    if not problems:
        try:
            recipe = Recipe.model_validate_json(json.dumps(raw), strict=True)
        except ValidationError as error:
            problems += build_problems(error.errors(include_url=False), raw)
        problems += _check_texts(raw, {problem.path for problem in problems})
    if recipe is None or problems or unavailable:
        raise build_refusal(problems, unavailable)
    return recipe


def set_values(recipe: Recipe, assignments: Iterable[str]) -> Recipe:
    """Return the recipe with settings changed by ``key=value`` texts, values written as in YAML.

    Raises:
        RecipeInvalid: A text is no assignment, a key is unknown or a value breaks a rule.
        NotAvailableYet: A value is not supported by this version.
    """
    raw = recipe.model_dump(mode="json")
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        steps = _split_path(path.strip())
        if not equals or not steps:
            raise RecipeInvalid(
                f"{assignment!r} sets nothing.", "Write key=value, for example train.epochs=3."
            )
        _assign(raw, path.strip(), steps, _parse_value(path.strip(), text.strip()))
    return parse_recipe(raw)


def _parse_value(path: str, text: str) -> Any:
    value = parse_yaml(text, path)
    spec = get_field_table().get(get_generic_path(path))
    is_number = isinstance(value, int | float)
    return text if spec is not None and spec.kind in _TEXT_KINDS and is_number else value


def _split_path(path: str) -> list[str | int]:
    """Return the parts of a path; ``data.train[0].limit`` and ``data.train.0.limit`` are equal."""
    steps: list[str | int] = []
    for name, index in _STEP.findall(path):
        steps.append(int(index or name) if index or (name.isdecimal() and steps) else name)
    return steps


def _assign(raw: dict[str, Any], path: str, steps: Sequence[str | int], value: Any) -> None:
    place: Any = raw
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if isinstance(step, int):
            if not isinstance(place, list) or step >= len(place):
                raise _refuse_path(path)
        elif not isinstance(place, dict):
            raise _refuse_path(path)
        if following is None:
            place[step] = value
            return
        inner = place[step] if isinstance(step, int) else place.get(step)
        wanted = list if isinstance(following, int) else dict
        if not isinstance(inner, wanted):
            if step not in place and not isinstance(step, int):
                raise _refuse_path(path)
            inner = place[step] = wanted()
        place = inner


def _refuse_path(path: str) -> RecipeInvalid:
    nearest = find_nearest_key(path)
    remedy = f"Did you mean {nearest}?" if nearest else "Check the spelling."
    return build_refusal([Problem(path, "unknown key.", remedy)])


def _check_texts(raw: Mapping[str, Any], known: set[str]) -> list[Problem]:
    """Return problems of texts that have a little grammar of their own."""
    problems: list[Problem] = []
    adapter, train = raw.get("adapter"), raw.get("train")
    layers = adapter.get("layers", "all") if isinstance(adapter, Mapping) else "all"
    if isinstance(layers, str | list) and not any(p.startswith("adapter.layers") for p in known):
        try:
            parse_layers(layers if isinstance(layers, str) else tuple(layers))
        except RecipeInvalid as error:
            problems += error.problems
    device = train.get("devices", "auto") if isinstance(train, Mapping) else "auto"
    is_known = _DEVICE.fullmatch(device) is not None if isinstance(device, str) else True
    if not is_known or (isinstance(device, int) and not isinstance(device, bool) and device < 1):
        wanted = get_field_table()["train.devices"].describe()
        problems.append(Problem("train.devices", f"must be {wanted}, not {device!r:.60}."))
    return problems


def make_absolute(recipe: Recipe, folder: Path) -> Recipe:
    """Return the recipe with its file names made absolute, so that it can be edited anywhere."""

    def resolve(text: str) -> str:
        path = folder / text
        return str(path.resolve()) if path.exists() else text

    data = recipe.data
    train = tuple(s.model_copy(update={"source": resolve(s.source)}) for s in data.train)
    changes: dict[str, object] = {"train": train}
    if isinstance(data.validation, tuple):
        changes["validation"] = tuple(
            s.model_copy(update={"source": resolve(s.source)}) for s in data.validation
        )
    base = recipe.base.model_copy(update={"model": resolve(recipe.base.model)})
    return recipe.model_copy(update={"base": base, "data": data.model_copy(update=changes)})
