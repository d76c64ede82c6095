"""Broken rules of the recipe format, translated from the validator's words into plain ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import ErrorDetails

from studio.core.recipe.fields import FieldSpec, get_field_table, get_section_paths
from studio.core.recipe.problem import Problem
from studio.core.recipe.yaml_text import needs_quotes

_FOREIGN_NAMES = {
    "r": "adapter.rank",
    "lora_r": "adapter.rank",
    "lora_rank": "adapter.rank",
    "lora_alpha": "adapter.alpha",
    "lora_dropout": "adapter.dropout",
    "target_modules": "adapter.targets",
    "modules_to_save": "adapter.extra_modules",
    "lr": "train.learning_rate",
    "num_train_epochs": "train.epochs",
    "num_epochs": "train.epochs",
    "max_steps": "train.steps",
    "batch_size": "train.batch_sequences",
    "lr_scheduler_type": "train.schedule",
    "warmup_ratio": "train.warmup_fraction",
    "max_grad_norm": "train.max_gradient_norm",
    "gradient_checkpointing": "train.checkpointing",
    "max_length": "data.max_tokens",
    "max_seq_length": "data.max_tokens",
    "packing": "data.pack",
    "quantization": "base.quantisation",
    "model_name_or_path": "base.model",
    "dataset": "data.train",
}
"""How other tools call our settings, so that people who come from there find them."""


def build_problems(errors: Iterable[ErrorDetails], raw: Mapping[str, Any]) -> list[Problem]:
    """Return one problem per broken key of ``raw``, in the order in which they were found."""
    found: dict[str, Problem] = {}
    for error in errors:
        located = _locate(error, raw)
        if located is None:
            continue
        path, value = located
        found.setdefault(path, _describe(error["type"], path, value))
    # A wrong entry makes the whole list wrong; only the entry is worth telling.
    return [p for p in found.values() if not any(key.startswith(f"{p.path}[") for key in found)]


def build_unavailable(raw: Mapping[str, Any]) -> list[Problem]:
    """Return one problem per value of ``raw`` that the format knows and the engine does not."""
    table = get_field_table()
    problems = []
    for path, value in _iter_values(raw, ""):
        spec = table.get(get_generic_path(path))
        if spec is None or spec.is_available(value):
            continue
        shown = "using several cards" if spec.kind == "device" else show_value(value)
        problems.append(
            Problem(path, f"{shown} is not available yet.", f"Use {_get_available(spec)}.")
        )
    return problems


def get_generic_path(path: str) -> str:
    """Return a path with its entry numbers taken out: ``data.train[0].source`` -> ``[]``."""
    parts = [part.split("[", 1)[0] + "[]" * part.count("[") for part in path.split(".")]
    return ".".join(parts)


def find_nearest_key(path: str) -> str | None:
    """Return the known key that was most likely meant by an unknown one, or None."""
    generic = get_generic_path(path)
    known = [*get_field_table(), *get_section_paths()]
    parent, _, name = generic.rpartition(".")
    siblings = [key for key in known if key.rpartition(".")[0] == parent]
    near = difflib.get_close_matches(generic, siblings, 1, 0.7 if parent else 0.6)
    same_name = sorted((key for key in known if key.rpartition(".")[2] == name), key=len)
    if name in _FOREIGN_NAMES or same_name:
        return _FOREIGN_NAMES.get(name) or same_name[0]
    if near:
        return path.rpartition(".")[0] + near[0][len(parent) :]
    near = difflib.get_close_matches(generic, known, 1, 0.75)
    return near[0] if near else None


def show_value(value: object) -> str:
    """Return a value as the user wrote it, shortened, for use in a sentence."""
    if isinstance(value, Mapping):
        return "a group of settings"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "empty"}[value]
    if isinstance(value, list | tuple):
        shown = "[" + ", ".join(show_value(item) for item in value[:4]) + "]"
    else:
        shown = repr(value) if isinstance(value, str) and needs_quotes(value) else str(value)
    return shown if len(shown) <= 60 else shown[:57] + "…"


def _locate(error: ErrorDetails, raw: Any) -> tuple[str, Any] | None:
    """Return path and value of an error; None if it speaks of a form the value does not have.

    The validator tries every member of a union and reports all; its location names the member,
    which is no part of the file.
    """
    path, value = "", raw
    *parents, last = error["loc"] or ("",)
    for part in (*parents, last):
        is_last = part is last
        if isinstance(part, int) and isinstance(value, list | tuple) and part < len(value):
            path, value = f"{path}[{part}]", value[part]
        elif isinstance(value, Mapping) and part in value:
            path, value = (f"{path}.{part}" if path else str(part)), value[part]
        elif is_last and error["type"] == "missing" and isinstance(value, Mapping):
            path, value = (f"{path}.{part}" if path else str(part)), None
        elif _is_other_form(str(part), value):
            return None
    return path, value


def _is_other_form(member: str, value: Any) -> bool:
    """Return whether a member of a union is a list and the value a mapping, or the reverse."""
    if isinstance(value, Mapping):
        return member.startswith("tuple[")
    return isinstance(value, list | tuple) and member[:1].isupper()


def _describe(kind: str, path: str, value: Any) -> Problem:
    spec = get_field_table().get(get_generic_path(path))
    if kind == "extra_forbidden":
        nearest = find_nearest_key(path)
        remedy = f"Did you mean {nearest}?" if nearest else "Remove it, or check the spelling."
        return Problem(path, "unknown key.", remedy)
    if kind == "missing":
        words = spec.help if spec else "This group of settings is needed."
        return Problem(path, "is missing.", words)
    if path in get_section_paths():
        return Problem(path, f"must be a group of settings, not {show_value(value)}.")
    if value in ("", [], ()) and (spec is None or not spec.is_optional):
        return Problem(path, "must not be empty.", spec.help if spec else "")
    if kind == "string_too_long" and spec is not None:
        return Problem(path, f"must be at most {spec.max_length} characters long.")
    wanted = spec.describe() if spec else _describe_entry(path)
    remedy = "Put the value in quotes." if _looks_unquoted(wanted, value) else ""
    return Problem(path, f"must be {wanted}, not {show_value(value)}.", remedy)


def _describe_entry(path: str) -> str:
    if path.startswith("adapter.layers["):
        return "a whole number"
    if path.endswith("]") and get_generic_path(f"{path}.x")[:-1] in _get_entry_prefixes():
        return "a group of settings"
    return "text"


def _get_entry_prefixes() -> set[str]:
    return {f"{key.rpartition('.')[0]}." for key in get_field_table() if "[]" in key}


def _looks_unquoted(wanted: str, value: object) -> bool:
    return wanted.startswith("text") and isinstance(value, int | float)


def _get_available(spec: FieldSpec) -> str:
    if spec.kind == "device":
        return "auto, or one card such as cuda:0"
    if "*" in spec.later:
        return "an empty list"
    options = [choice.value for choice in spec.choices if choice.is_available]
    return " or ".join([", ".join(options[:-1]), options[-1]] if len(options) > 1 else options)


def _iter_values(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if path:
        yield path, value
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _iter_values(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _iter_values(inner, f"{path}[{index}]")
