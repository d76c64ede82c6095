"""Every setting of the recipe as one flat list, so that forms and documentation draw themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from studio.core.recipe.knob import Knob, Level, Section, get_knob
from studio.core.recipe.schema import Recipe

Kind = Literal[
    "integer",
    "number",
    "boolean",
    "text",
    "choice",
    "auto_count",
    "text_list",
    "choice_or_list",
    "mapping",
    "section_list",
    "section_or_list",
    "model",
    "file",
    "folder",
    "template",
    "layers",
    "device",
]


@dataclass(frozen=True)
class Choice:
    """One value of a setting with a fixed set of values, and one sentence about it."""

    value: str
    words: str
    is_available: bool = True


@dataclass(frozen=True)
class FieldSpec:
    """All that an editor needs to know about one setting.

    ``path`` is the dotted key; ``[]`` stands for the number of a list entry
    (``data.train[].source``). ``section`` is the part before the first dot, empty at the top.
    ``default`` is a plain value (lists, mappings and texts, no models), None where there is none.
    ``word`` is what may stand in place of a count. ``low`` and ``high`` are bounds;
    ``excludes_low`` and ``excludes_high`` say that the bound itself is not allowed. ``items`` are
    the settings of one entry where entries are sections, and ``alternative`` those of the mapping
    that may stand in place of the list.
    """

    path: str
    section: str
    kind: Kind
    label: str
    help: str
    default: Any = None
    unit: str = ""
    level: Level = "advanced"
    step: float | None = None
    low: float | None = None
    high: float | None = None
    excludes_low: bool = False
    excludes_high: bool = False
    min_length: int = 0
    max_length: int | None = None
    choices: tuple[Choice, ...] = ()
    word: str = "auto"
    is_required: bool = False
    is_optional: bool = False
    later: frozenset[str] = frozenset()
    items: tuple[FieldSpec, ...] = ()
    alternative: tuple[FieldSpec, ...] = ()

    @property
    def name(self) -> str:
        """The last part of the path, as it is written in the file."""
        return self.path.rpartition(".")[2]

    def is_available(self, value: object) -> bool:
        """Return whether this version can act on ``value``; the format may know more values."""
        if self.kind == "device" and isinstance(value, int):
            return value <= 1
        if "*" in self.later:
            return value in (None, "", (), [], {})
        return not (isinstance(value, str) and value in self.later)

    def describe(self) -> str:
        """Return what may stand here, to complete the sentence "must be …"."""
        words = _KIND_WORDS.get(self.kind, "")
        if self.kind == "auto_count":
            words = f"{self.word} or a whole number{self._range()}"
        if self.kind in ("integer", "number"):
            words = ("a whole number" if self.kind == "integer" else "a number") + self._range()
        elif self.kind in ("choice", "choice_or_list"):
            words = _join([choice.value for choice in self.choices])
            if self.kind == "choice_or_list":
                words += ", or a list of name patterns"
        elif self.kind == "section_list":
            example = next(item.name for item in self.items if item.is_required)
            words = f"a list of entries such as [{{{example}: …}}]"
        return f"{words}, or empty" if self.is_optional else words

    def _range(self) -> str:
        if self.low is not None and self.high is not None and not self.excludes_low:
            if self.excludes_high:
                return f" from {self.low:g} to below {_plain_number(self.high)}"
            return f" from {self.low:g} to {_plain_number(self.high)}"
        words = []
        if self.low is not None:
            words.append(f"{'above' if self.excludes_low else 'of at least'} {self.low:g}")
        if self.high is not None:
            bound = "below" if self.excludes_high else "at most"
            words.append(f"{bound} {_plain_number(self.high)}")
        return " " + " and ".join(words) if words else ""


_KIND_WORDS: Mapping[Kind, str] = {
    "boolean": "true or false",
    "text": "text",
    "text_list": "a list of texts",
    "mapping": "a mapping such as {prompt: question}",
    "section_or_list": "a mapping such as {fraction: 0.05}, or a list of entries",
    "model": "text: a folder or the name of a model",
    "file": "text: a file name",
    "folder": "text: a folder",
    "template": "text: auto, plain or a template file",
    "layers": "all, a range such as 8-23, or numbers such as 0,4,8",
    "device": "auto, cpu, a card such as cuda:0, or a number of cards",
}


@cache
def get_fields() -> tuple[FieldSpec, ...]:
    """Return every setting in the order of the file, settings of list entries included."""
    return tuple(iter_fields())


@cache
def get_field_table() -> Mapping[str, FieldSpec]:
    """Return every setting by its path."""
    return {spec.path: spec for spec in get_fields()}


@cache
def get_section_paths() -> frozenset[str]:
    """Return the paths that are groups of settings, such as ``adapter``."""
    return frozenset(
        name for name, info in Recipe.model_fields.items() if _as_section(info.annotation)
    )


def iter_fields() -> Iterator[FieldSpec]:
    """Yield every setting in the order of the file; settings of list entries follow their list."""
    for name, info in Recipe.model_fields.items():
        section = _as_section(info.annotation)
        if section is None:
            yield from _flatten(_build(name, info))
        else:
            for inner, inner_info in section.model_fields.items():
                yield from _flatten(_build(f"{name}.{inner}", inner_info))


def _flatten(spec: FieldSpec) -> Iterator[FieldSpec]:
    yield spec
    yield from spec.alternative
    yield from spec.items


def _build(path: str, info: FieldInfo) -> FieldSpec:
    knob = get_knob(info)
    options = _get_options(info.annotation)
    literals = tuple(str(v) for option in options for v in _get_literals(option))
    kind = _get_kind(knob, options)
    item = next((s for option in options if (s := _get_item_section(option))), None)
    other = next((s for option in options if (s := _as_section(option))), None)
    return FieldSpec(
        path=path,
        section=path.partition(".")[0] if "." in path else "",
        kind=kind,
        label=knob.label,
        help=knob.help,
        default=_get_default(info),
        unit=knob.unit,
        level=knob.level,
        step=knob.step,
        choices=tuple(Choice(v, knob.choices.get(v, ""), v not in knob.later) for v in literals)
        if kind in ("choice", "choice_or_list")
        else (),
        word=literals[0] if kind == "auto_count" else "auto",
        is_required=info.is_required(),
        is_optional=NoneType in options,
        later=knob.later,
        items=_build_all(f"{path}[]", item),
        alternative=_build_all(path, other),
        **_get_bounds([*info.metadata, *(rule for option in options for rule in _rules(option))]),
    )


def _build_all(path: str, section: type[Section] | None) -> tuple[FieldSpec, ...]:
    if section is None:
        return ()
    return tuple(_build(f"{path}.{name}", info) for name, info in section.model_fields.items())


def _get_kind(knob: Knob, options: tuple[Any, ...]) -> Kind:
    if knob.editor:
        return knob.editor
    plain = [option for option in options if option is not NoneType]
    has_literals = any(_get_literals(option) for option in plain)
    if any(_get_item_section(option) for option in plain):
        return "section_or_list" if len(plain) > 1 else "section_list"
    bare = {get_args(option)[0] if _rules(option) else option for option in plain}
    if has_literals:
        if int in bare:
            return "auto_count"
        return "choice_or_list" if len(plain) > 1 else "choice"
    if any(get_origin(option) is tuple for option in plain):
        return "text_list"
    if any(get_origin(option) is dict for option in plain):
        return "mapping"
    kinds: dict[Any, Kind] = {bool: "boolean", int: "integer", float: "number", str: "text"}
    return kinds[plain[0]]


def _get_options(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the one type."""
    if get_origin(annotation) in (Union, UnionType):
        return tuple(part for a in get_args(annotation) for part in _get_options(a))
    return (annotation,)


def _get_literals(option: Any) -> tuple[Any, ...]:
    return get_args(option) if get_origin(option) is Literal else ()


def _rules(option: Any) -> tuple[Any, ...]:
    if get_origin(option) is not Annotated:
        return ()
    return tuple(rule for info in get_args(option)[1:] for rule in getattr(info, "metadata", ()))


def _as_section(annotation: Any) -> type[Section] | None:
    is_section = isinstance(annotation, type) and issubclass(annotation, Section)
    return annotation if is_section else None


def _get_item_section(option: Any) -> type[Section] | None:
    return _as_section(get_args(option)[0]) if get_origin(option) is tuple else None


def _get_default(info: FieldInfo) -> Any:
    default = info.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined:
        return None
    if isinstance(default, Section):
        return default.model_dump(mode="json")
    return list(default) if isinstance(default, tuple) else default


def _get_bounds(rules: list[Any]) -> dict[str, Any]:
    bounds: dict[str, Any] = {}
    for rule in rules:
        match rule:
            case annotated_types.Ge():
                bounds["low"] = rule.ge
            case annotated_types.Gt():
                bounds |= {"low": rule.gt, "excludes_low": True}
            case annotated_types.Le():
                bounds["high"] = rule.le
            case annotated_types.Lt():
                bounds |= {"high": rule.lt, "excludes_high": True}
            case annotated_types.MinLen():
                bounds["min_length"] = rule.min_length
            case annotated_types.MaxLen():
                bounds["max_length"] = rule.max_length
    return bounds


def _plain_number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _join(words: list[str]) -> str:
    if len(words) == 1:
        return words[0]
    return f"{', '.join(words[:-1])} or {words[-1]}"
