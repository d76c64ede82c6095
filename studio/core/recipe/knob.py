"""How a setting is declared: its rules, its words for people and what is not built yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

Level = Literal["essential", "advanced"]
Editor = Literal["", "model", "file", "folder", "template", "layers", "device"]
AutoCount = Literal["auto"] | Annotated[int, Field(ge=1)]
"""A positive whole number, or ``auto``: chosen before the run starts."""


class Section(BaseModel):
    """A group of settings; frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


@dataclass(frozen=True)
class Knob:
    """What a form and the documentation need to know about one setting beyond its type."""

    label: str
    help: str
    unit: str = ""
    level: Level = "advanced"
    step: float | None = None
    later: frozenset[str] = field(default_factory=frozenset)
    choices: Mapping[str, str] = field(default_factory=dict)
    editor: Editor = ""


def knob(
    default: Any,
    label: str,
    help: str,  # noqa: A002 - the word the schema uses everywhere
    *,
    unit: str = "",
    level: Level = "advanced",
    step: float | None = None,
    later: frozenset[str] | set[str] = frozenset(),
    choices: Mapping[str, str] | None = None,
    editor: Editor = "",
    **rules: Any,
) -> Any:
    """Return a pydantic field that carries its own label, help text and rules.

    ``rules`` are pydantic's (``ge``, ``gt``, ``le``, ``lt``, ``min_length``, ``default_factory``).
    ``later`` names values that the format knows and the engine does not have yet.
    ``choices`` maps each literal value to one sentence for people.
    ``editor`` names a special kind of value that the type alone does not tell.
    """
    meta = Knob(label, help, unit, level, step, frozenset(later), choices or {}, editor)
    if "default_factory" not in rules:
        rules["default"] = default
    info: FieldInfo = Field(title=label, description=help, json_schema_extra=None, **rules)
    info.metadata.append(meta)
    return info


def get_knob(info: FieldInfo) -> Knob:
    """Return the words declared with a field.

    Raises:
        LookupError: The field was declared without ``knob``.
    """
    for item in info.metadata:
        if isinstance(item, Knob):
            return item
    raise LookupError("field was declared without knob()")
