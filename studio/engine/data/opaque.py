"""Running a chat template on contents nobody may look into, to learn what it writes around them.

A template that only copies contents (or trims them) writes every conversation with the same roles
alike: the same literals, with the contents between them. Here it is run once with contents that
note what is done to them. What cannot be noted is refused, so that nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, SupportsIndex

from jinja2 import nodes
from jinja2.runtime import Macro

from studio.engine.data.sandbox import TemplateSandbox, plain_values

SIGN = "\ue0f0"
"""Stands in every content while a template is examined; no real template writes it."""

Trim = Literal["", "strip", "lstrip", "rstrip"]
_TRIMS: dict[Trim, Callable[[str, str | None], str]] = {
    "": lambda text, _: text,
    "strip": str.strip,
    "lstrip": str.lstrip,
    "rstrip": str.rstrip,
}
_HARMLESS_FILTERS = {"trim", "string"}
_HARMLESS_TESTS = {"defined", "undefined", "none", "string", "mapping", "boolean", "number",
                   "integer", "float", "callable", "true", "false", "sameas"}  # fmt: skip
_PLAIN_KEYS = {"role", "type", "name", "tool_calls", "from"}


class NotOpaque(Exception):
    """The template looks into contents in a way that cannot be noted."""


@dataclass(frozen=True)
class Hole:
    """Where the content of turn ``index`` is written, as it is or trimmed."""

    index: int
    trim: Trim = ""
    characters: str | None = None

    def fill(self, content: str) -> str:
        """Return what is written for a content."""
        return _TRIMS[self.trim](content, self.characters)


@dataclass(frozen=True)
class Condition:
    """What has to hold of a content so that the template takes the same way again."""

    hole: Hole
    kind: Literal["filled", "lacks", "starts_otherwise", "ends_otherwise", "differs"]
    text: str = ""

    def holds(self, content: str) -> bool:
        """Return whether it holds."""
        written = self.hole.fill(content)
        if self.kind == "filled":
            return bool(written)
        if self.kind == "lacks":
            return self.text not in written
        if self.kind == "starts_otherwise":
            return not written.startswith(self.text)
        if self.kind == "ends_otherwise":
            return not written.endswith(self.text)
        return written != self.text


Part = str | Hole


@dataclass
class Notes:
    """The conditions under which a template took its way."""

    conditions: list[Condition] = field(default_factory=list)


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise NotOpaque


class Opaque(str):
    """Text of which only copying, joining and trimming are allowed; questions become conditions."""

    parts: tuple[Part, ...]
    notes: Notes

    @classmethod
    def of(cls, parts: Sequence[Part], notes: Notes) -> Opaque:
        """Return the text that consists of these parts."""
        # Whatever reads the characters directly takes the sign along, and gives itself away.
        made = cls("".join(part if isinstance(part, str) else SIGN for part in parts))
        made.parts, made.notes = tuple(parts), notes
        return made

    def __str__(self) -> str:
        return self

    def __add__(self, other: str) -> Opaque:
        return Opaque.of([*self.parts, *parts_of(other)], self.notes)

    def __radd__(self, other: str) -> Opaque:
        return _join(other, self)

    def __bool__(self) -> bool:
        if not any(isinstance(part, str) and part for part in self.parts):
            self._note("filled", "")
        return True

    def __contains__(self, item: object) -> bool:
        self._note("lacks", item)
        return False

    def __eq__(self, other: object) -> bool:
        self._note("differs", other)
        return False

    def __ne__(self, other: object) -> bool:
        return not self == other

    def startswith(self, prefix: Any, *rest: SupportsIndex | None) -> bool:
        """Return False, and note that this has to be so."""
        if rest:
            raise NotOpaque
        for one in prefix if isinstance(prefix, tuple) else (prefix,):
            self._note("starts_otherwise", one)
        return False

    def endswith(self, suffix: Any, *rest: SupportsIndex | None) -> bool:
        """Return False, and note that this has to be so."""
        if rest:
            raise NotOpaque
        for one in suffix if isinstance(suffix, tuple) else (suffix,):
            self._note("ends_otherwise", one)
        return False

    def strip(self, characters: str | None = None, /) -> Opaque:
        """Return the text without blanks around it."""
        return self._trim("strip", characters)

    def lstrip(self, characters: str | None = None, /) -> Opaque:
        """Return the text without blanks before it."""
        return self._trim("lstrip", characters)

    def rstrip(self, characters: str | None = None, /) -> Opaque:
        """Return the text without blanks behind it."""
        return self._trim("rstrip", characters)

    def _trim(self, trim: Trim, characters: str | None) -> Opaque:
        hole = self._get_hole()
        if isinstance(characters, Opaque) or hole.trim not in ("", trim):
            raise NotOpaque
        if hole.trim and hole.characters != characters:
            raise NotOpaque
        return Opaque.of([Hole(hole.index, trim, characters)], self.notes)

    def _get_hole(self) -> Hole:
        first = self.parts[0] if len(self.parts) == 1 else ""
        if not isinstance(first, Hole):
            raise NotOpaque
        return first

    def _note(self, kind: Any, text: object) -> None:
        if type(text) is not str:
            raise NotOpaque
        self.notes.conditions.append(Condition(self._get_hole(), kind, text))

    __hash__ = None  # type: ignore[assignment]  # a content must not be looked up
    __len__ = __iter__ = __getitem__ = __mod__ = __rmod__ = __mul__ = __rmul__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __format__ = _refuse


for _name in dir(str):
    if not _name.startswith("_") and _name not in vars(Opaque):
        setattr(Opaque, _name, _refuse)


def _join(left: Any, right: Any) -> Opaque:
    """Return a plain text with an opaque one behind it."""
    return Opaque.of([*parts_of(left), *right.parts], right.notes)


def parts_of(text: object) -> tuple[Part, ...]:
    """Return the parts of a text, opaque or not.

    Raises:
        NotOpaque: Contents were read directly.
    """
    if isinstance(text, Opaque):
        return text.parts
    if not isinstance(text, str) or SIGN in text:
        raise NotOpaque
    return (text,)


class OpaqueSandbox(TemplateSandbox):
    """The sandbox of chat templates, in which opaque contents stay opaque."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = {
            name: one if name in _HARMLESS_FILTERS else _guarded(one)
            for name, one in self.filters.items()
        }
        self.tests = {
            name: one if name in _HARMLESS_TESTS else _guarded(one)
            for name, one in self.tests.items()
        }

    @staticmethod
    def concat(parts: Any) -> str:
        """Return the parts as one text, opaque if one of them is."""
        listed = list(parts)
        notes = next((one.notes for one in listed if isinstance(one, Opaque)), None)
        if notes is None:
            return TemplateSandbox.concat(listed)
        return Opaque.of([part for one in listed for part in parts_of(one)], notes)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Return the result of an operation."""
        if isinstance(left, Opaque) or isinstance(right, Opaque):
            if operator != "+" or not (isinstance(left, str) and isinstance(right, str)):
                raise NotOpaque
            return Opaque.__add__(left, right) if isinstance(left, Opaque) else _join(left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, callee: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the result of a call; functions that would read a content are refused."""
        given = [*args, *kwargs.values()]
        is_ours = isinstance(callee, Macro) or isinstance(getattr(callee, "__self__", 0), Opaque)
        if any(isinstance(one, Opaque) for one in given) and not is_ours:
            raise NotOpaque
        return super().call(context, callee, *args, **kwargs)


def examine(
    source: str, variables: Mapping[str, Any], roles: Sequence[str]
) -> tuple[tuple[Part, ...], tuple[Condition, ...]] | None:
    """Return what a template writes for turns of these roles, and under which conditions.

    None where contents decide in ways that cannot be noted, or the template refuses the roles.
    """
    if SIGN in source:
        return None
    notes = Notes()
    contents = [Opaque.of([Hole(index)], notes) for index in range(len(roles))]
    messages = [
        {"role": role, "content": content} for role, content in zip(roles, contents, strict=True)
    ]
    try:
        environment = OpaqueSandbox()
        if _searches_in_unknown(environment.parse(source)):
            return None
        template = environment.from_string(source)
        context = template.new_context({**plain_values(dict(variables)), "messages": messages})
        written = environment.concat(template.root_render_func(context))
        parts = parts_of(written)
    except Exception:  # noqa: BLE001 - a template of strangers; whatever it was, nothing is proven
        return None
    return _join_literals(parts), tuple(dict.fromkeys(notes.conditions))


def _searches_in_unknown(tree: nodes.Template) -> bool:
    """Return whether ``x in y`` could look for a content inside a text, which leaves no note."""
    for comparison in tree.find_all(nodes.Compare):
        for operand in comparison.ops:
            is_search = operand.op in ("in", "notin")
            is_listed = isinstance(operand.expr, nodes.List | nodes.Tuple)
            if is_search and not is_listed and not _is_plain(comparison.expr):
                return True
    return False


def _is_plain(expression: nodes.Node) -> bool:
    """Return whether an expression cannot be a content."""
    if isinstance(expression, nodes.Const):
        return True
    if isinstance(expression, nodes.Getattr):
        return expression.attr in _PLAIN_KEYS
    if isinstance(expression, nodes.Getitem) and isinstance(expression.arg, nodes.Const):
        return expression.arg.value in _PLAIN_KEYS
    return False


def _join_literals(parts: Sequence[Part]) -> tuple[Part, ...]:
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    return tuple(joined)


def _guarded(inner: Any) -> Callable[..., Any]:
    """Return a filter or test that refuses contents."""
    passes = getattr(inner, "jinja_pass_arg", None)

    def guarded(*args: Any, **kwargs: Any) -> Any:
        if any(isinstance(one, Opaque) for one in (*args, *kwargs.values())):
            raise NotOpaque
        return inner(*args, **kwargs)

    if passes is not None:
        guarded.jinja_pass_arg = passes  # type: ignore[attr-defined]  # how Jinja marks filters
    return guarded
