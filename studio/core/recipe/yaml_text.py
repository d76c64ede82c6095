"""YAML as people mean it: 2e-4 is a number, no and 12:30 are text, a key stands only once."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from studio.core.errors import RecipeInvalid

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?")
_NOTHING = re.compile(r"(?:~|null|Null|NULL|)")
_TRUTH = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
_DIGITS = list("-+.0123456789")
_RULES: tuple[tuple[str, re.Pattern[str], list[str] | None], ...] = (
    ("bool", _TRUTH, list("tTfF")),
    ("int", _INTEGER, _DIGITS),
    ("float", _NUMBER, _DIGITS),
    ("null", _NOTHING, ["~", "n", "N", ""]),
)


class _Loader(yaml.SafeLoader):
    """The safe loader with the plain values of YAML 1.2; repeated keys and aliases are refused."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Return the next node; an alias could hide a bomb and no recipe needs one."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="references (*name) are not allowed", problem_mark=self.get_mark()
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return the mapping of a node whose keys are texts, each there once."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a key must be text", problem_mark=key.start_mark
                )
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value} stands here a second time",
                    problem_mark=key.start_mark,
                )
            seen.add(key.value)
            key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """The safe dumper; quotes whatever YAML 1.1 or 1.2 would not read back as text."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the name is the base's
        """Return True: equal lists are written out, never referred to."""
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    lines = text.split("\n")
    style = None
    if not all(line.isprintable() for line in lines):
        style = '"'  # the only style that writes such characters as escapes
    elif len(lines) > 1 and text == text.strip() and all(line == line.rstrip() for line in lines):
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _construct_integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _RULES:
    _full = re.compile(rf"(?:{_pattern.pattern})\Z")
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _full, _first)
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _full, _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_integer)
_Dumper.add_representer(str, _represent_text)


def parse_yaml(text: str, place: str) -> Any:
    """Return the plain value written in ``text``: mappings, lists, texts, numbers, truths, None.

    ``place`` names the text in messages, for example a file name.

    Raises:
        RecipeInvalid: It is no YAML, or uses a part of YAML that recipes do not have.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader with fewer rights
    except RecursionError as error:
        raise RecipeInvalid(
            f"{place} cannot be read: it is nested too deeply.", "Use the layout of a recipe."
        ) from error
    except yaml.YAMLError as error:
        raise _get_syntax_error(error, text, place) from error


def dump_yaml(value: Any) -> str:
    """Return plain values as YAML for people: own order of keys, one setting per line."""
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, indent=2
    )


def needs_quotes(text: str) -> bool:
    """Return whether a text would be read as something else, or be lost, without quotes."""
    is_plain = any(pattern.fullmatch(text) for _, pattern, _ in _RULES)
    return is_plain or text.strip() != text


def _get_syntax_error(error: yaml.YAMLError, text: str, place: str) -> RecipeInvalid:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return RecipeInvalid(
            f"{place} holds characters that do not belong into a text file.",
            "Open it in a text editor and save it as plain text (UTF-8).",
        )
    problem = getattr(error, "problem", None) or "the line is not understood"
    where = f"{place}, line {mark.line + 1}, column {mark.column + 1}"
    lines = text.splitlines()
    if mark.line < len(lines) and "\t" in lines[mark.line][: mark.column + 1]:
        return RecipeInvalid(
            f"{where}: a tab stands where spaces are needed.",
            "Indent with spaces, two for each level.",
        )
    return RecipeInvalid(
        f"{where}: {problem}.",
        "Correct this line: one 'key: value' per line, indented with spaces.",
    )
