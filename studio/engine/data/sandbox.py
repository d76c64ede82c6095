"""Where chat templates run: no access to the program, bounded results, and fast.

Equal to what transformers does with a template, except that nothing can grow without bound.
Jinja's sandbox keeps code away from the program, but lets it multiply a text two billion times.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain, islice
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from studio.core.errors import DatasetInvalid

MAX_CHARACTERS = 1 << 24
"""Longest text that a template may make, about four million tokens."""
MAX_ENTRIES = 1 << 20
MAX_BITS = 1 << 16
_MAX_COUNT = 100_000
_DICT_METHODS = frozenset(dir(dict))
_LONG_WIDTH = re.compile(r"\d{6,}|\*|\{[^}]*\{")
_COUNTING = ("center", "indent", "wordwrap", "truncate", "round", "batch", "slice", "tojson")
_PLAIN_METHODS = frozenset(
    {
        *("startswith", "endswith", "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines"),
        *("lower", "upper", "title", "capitalize", "count", "find", "rfind", "index", "isdigit"),
        *("partition", "rpartition", "removeprefix", "removesuffix", "isalpha", "isspace"),
    }
)
"""Methods of texts whose result is not longer than the text: safe and bounded."""
_WIDENING = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs", "to_bytes"})
_PIECES = 4096


def too_large() -> DatasetInvalid:
    """Return the error for a template whose results grow without bound."""
    return DatasetInvalid(
        f"The chat template makes a text of more than {MAX_CHARACTERS:,} characters, so it was "
        "ended.",
        "Choose another template, or divide the row if it is that long.",
        code="template_too_large",
    )


class _CheckedCode(CodeGenerator):
    """Writes ``a ~ b`` so that the sandbox sees how long the result gets."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - Jinja's name
        self.write("environment.concat(map(str, (")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write(")))")


class _GenerationTag(Extension):
    """Accepts ``{% generation %}`` blocks, which mark answers for other programs."""

    tags = {"generation"}  # noqa: RUF012 - declared so by Jinja

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the contents of the block."""
        next(parser.stream)
        return [nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True))]


class _Namespace(jinja2.utils.Namespace):
    """A namespace without underscored names, which Jinja could confuse with its own."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise SecurityError(f"a namespace cannot hold the name {name!r}")
        super().__setitem__(name, value)


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """The environment of chat templates."""

    code_generator_class = _CheckedCode
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols]
        )
        self.filters["tojson"] = _tojson
        self.filters["replace"] = _replace
        self.filters["join"] = _join_filter(self.filters["join"])
        self.filters["format"] = _format_filter(self.filters["format"])
        for name in _COUNTING:
            self.filters[name] = _counted(self.filters[name])
        self.globals = {
            "range": self.globals["range"],
            "dict": _TemplateDict(),
            "cycler": self.globals["cycler"],
            "joiner": self.globals["joiner"],
            "namespace": _Namespace,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """Return the parts as one text of bounded length."""
        if not isinstance(parts, list):
            remaining = iter(parts)
            parts = list(islice(remaining, _PIECES))
            if len(parts) == _PIECES:
                parts = list(_iter_bounded(chain(parts, remaining)))
        if sum(map(len, parts)) > MAX_CHARACTERS:
            raise too_large()
        return "".join(parts)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return an attribute or entry; entries of dictionaries, read most often, fast."""
        kind = type(obj)
        if kind is dict and attribute not in _DICT_METHODS:
            if attribute in obj:
                return obj[attribute]
            return self.undefined(obj=obj, name=attribute)
        if kind is str and attribute in _PLAIN_METHODS:
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return an entry."""
        kind = type(obj)
        if kind is dict and type(argument) is str and argument in obj:
            return obj[argument]
        if kind is list and type(argument) is int and -len(obj) <= argument < len(obj):
            return obj[argument]
        return super().getitem(obj, argument)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002 - Jinja's signature
        """Return the result of an operation that could grow without bound."""
        if operator == "+":
            result = left + right
        elif operator == "*":
            _check_product(left, right)
            result = left * right
        elif operator == "%":
            if isinstance(left, str):
                _check_widths(left)
            result = left % right
        else:
            _check_power(left, right)
            result = left**right
        return _checked(result)

    def call(self, context: Any, callee: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the result of a call, with the methods of texts bounded."""
        owner = getattr(callee, "__self__", None)
        if type(owner) is str:
            # what Jinja hands to functions that ask for the context; no text does
            kwargs.pop("_block_vars", None)
            kwargs.pop("_loop_vars", None)
            name = getattr(callee, "__name__", "")
            if name in _PLAIN_METHODS:
                return callee(*args, **kwargs)
            _check_method(owner, name, args, kwargs)
        elif getattr(getattr(callee, "__wrapped__", None), "__name__", "").startswith("format"):
            _check_widths(getattr(callee.__wrapped__, "__self__", ""))
        return super().call(context, callee, *args, **kwargs)


@lru_cache(maxsize=32)
def compile_template(source: str) -> jinja2.Template:
    """Return a template ready to be rendered.

    Raises:
        jinja2.TemplateError: The source is not valid.
    """
    return TemplateSandbox().from_string(source)


def plain_values(value: Any) -> Any:
    """Return a copy made of JSON's types alone, so that templates get no methods of ours."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(item) for item in value]
    return f"<{type(value).__name__}>"


class _TemplateDict:
    """The function ``dict`` without the attributes of the type."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        """Return a dictionary with one value for all keys."""
        return dict.fromkeys(*args)


def _iter_bounded(parts: Iterator[str]) -> Iterator[str]:
    total = 0
    while chunk := list(islice(parts, _PIECES)):
        total += sum(map(len, chunk))
        if total > MAX_CHARACTERS:
            raise too_large()
        yield from filter(None, chunk)


def _checked(value: Any) -> Any:
    if isinstance(value, str):
        if len(value) > MAX_CHARACTERS:
            raise too_large()
    elif isinstance(value, list | tuple) and len(value) > MAX_ENTRIES:
        raise too_large()
    return value


def _check_product(left: Any, right: Any) -> None:
    for one, other in ((left, right), (right, left)):
        if isinstance(one, str | list | tuple) and isinstance(other, int):
            limit = MAX_CHARACTERS if isinstance(one, str) else MAX_ENTRIES
            if len(one) * other > limit:
                raise too_large()
    if isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() + right.bit_length())


def _check_power(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() * abs(right))


def _check_bits(bits: int) -> None:
    if bits > MAX_BITS:
        raise too_large()


def _check_widths(pattern: str) -> None:
    """Refuse patterns that ask for enormous widths, or take a width from a value."""
    if _LONG_WIDTH.search(pattern):
        raise too_large()


def _check_method(text: str, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    given = [*args, *kwargs.values()]
    if name in _WIDENING:
        _check_counts(given)
    elif name == "replace" and len(given) >= 2:
        _check_replacement(text, str(given[0]), str(given[1]))
    elif name == "join" and given:
        _check_join(text, given[0])
    elif name == "translate" and given and isinstance(given[0], Mapping):
        longest = max((len(str(one)) for one in given[0].values()), default=0)
        if len(text) * longest > MAX_CHARACTERS:
            raise too_large()


def _check_counts(given: Iterable[Any]) -> None:
    if any(isinstance(one, int | float) and abs(one) > _MAX_COUNT for one in given):
        raise too_large()


def _check_replacement(text: str, old: str, new: str) -> None:
    if len(new) > len(old):
        found = text.count(old) if old else len(text) + 1
        if len(text) + found * (len(new) - len(old)) > MAX_CHARACTERS:
            raise too_large()


def _check_join(separator: str, items: Any) -> None:
    if isinstance(items, list | tuple | dict):
        total = sum(len(one) + len(separator) for one in items if isinstance(one, str))
        if total > MAX_CHARACTERS:
            raise too_large()
    elif not isinstance(items, str) or len(items) * (len(separator) + 1) > MAX_CHARACTERS:
        raise too_large()


def _replace(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    text = str(value)
    _check_replacement(text, str(old), str(new))
    return text.replace(str(old), str(new), -1 if count is None else count)


def _join_filter(inner: Callable[..., str]) -> Callable[..., str]:
    @jinja2.pass_eval_context
    def join(context: Any, value: Any, d: str = "", attribute: Any = None) -> str:
        items = list(islice(value, MAX_ENTRIES + 1))
        if len(items) > MAX_ENTRIES:
            raise too_large()
        _check_join(str(d), items)
        return inner(context, items, d, attribute)

    return join


def _format_filter(inner: Callable[..., str]) -> Callable[..., str]:
    def format_(value: Any, *args: Any, **kwargs: Any) -> str:
        _check_widths(str(value))
        return inner(value, *args, **kwargs)

    return format_


def _counted(inner: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that refuses enormous numbers as its arguments."""
    passes = getattr(inner, "jinja_pass_arg", None)

    def counted(*args: Any, **kwargs: Any) -> Any:
        skipped = 1 if passes is None else 2
        _check_counts([*args[skipped:], *kwargs.values()])
        result = inner(*args, **kwargs)
        return _checked(result)

    if passes is not None:
        counted.jinja_pass_arg = passes  # type: ignore[attr-defined]  # how Jinja marks filters
    return counted


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(pattern: str) -> str:
    _check_widths(pattern)
    return datetime.now().strftime(pattern)
