"""The part of Go's template language that our Modelfiles use, written and evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


@dataclass(frozen=True)
class ChatPieces:
    """What a chat template writes around the contents of a conversation.

    ``before_system`` and ``after_system`` enclose a system text up to the first question,
    ``start`` stands before the first question without one. ``to_answer`` and ``to_question``
    stand between turns, ``to_generation`` between the last question and the answer to come.
    """

    before_system: str
    after_system: str
    start: str
    to_answer: str
    to_question: str
    to_generation: str

    def build_go_template(self) -> str:
        """Returns the same as a Go template over ``.System`` and ``.Messages``."""
        return (
            "{{ if .System }}" + self.before_system + "{{ .System }}" + self.after_system
            + "{{ else }}" + self.start + "{{ end }}{{ $asked := false }}"
            '{{ range .Messages }}{{ if eq .Role "user" }}{{ if $asked }}' + self.to_question
            + "{{ end }}{{ $asked = true }}{{ .Content }}"
            '{{ else if eq .Role "assistant" }}' + self.to_answer + "{{ .Content }}{{ end }}"
            "{{ end }}" + self.to_generation
        )  # fmt: skip

    def can_be_written(self) -> bool:
        """Returns whether no piece holds characters that a Modelfile gives a meaning."""
        pieces = "".join(vars(self).values())
        return not any(mark in pieces for mark in ("{{", "}}", '"""'))


def render_go_template(source: str, turns: Sequence[Mapping[str, str]]) -> str:
    """Returns what ``source`` writes for a conversation of ``role`` and ``content``.

    Ollama gives the template all turns, and the texts of system turns joined as ``.System``.

    Raises:
        ValueError: The template uses more of the language than is known here.
    """
    system = "\n\n".join(turn["content"] for turn in turns if turn["role"] == "system")
    tokens = _cut(source)
    nodes, rest = _parse(tokens, 0)
    if rest != len(tokens):
        raise ValueError("a block ends that never began")
    variables: dict[str, object] = {}
    fields = {"System": system, "Messages": list(turns)}
    return _run(nodes, fields, variables)


@dataclass(frozen=True)
class _Token:
    text: str
    is_action: bool


@dataclass(frozen=True)
class _Node:
    kind: str
    text: str = ""
    branches: tuple[tuple[str, tuple[_Node, ...]], ...] = ()


def _cut(source: str) -> list[_Token]:
    tokens, position = [], 0
    for match in _ACTION.finditer(source):
        if match.start() > position:
            tokens.append(_Token(source[position : match.start()], is_action=False))
        tokens.append(_Token(match[1].strip(), is_action=True))
        position = match.end()
    if position < len(source):
        tokens.append(_Token(source[position:], is_action=False))
    return tokens


def _parse(tokens: Sequence[_Token], position: int) -> tuple[tuple[_Node, ...], int]:
    """Returns the nodes up to an ``else`` or ``end`` and the place of that token."""
    nodes: list[_Node] = []
    while position < len(tokens):
        token = tokens[position]
        word = token.text.partition(" ")[0]
        if token.is_action and word in ("else", "end"):
            break
        if not token.is_action:
            nodes.append(_Node("text", token.text))
        elif word in ("if", "range"):
            node, position = _parse_block(tokens, position)
            nodes.append(node)
        else:
            nodes.append(_Node("action", token.text))
        position += 1
    return tuple(nodes), position


def _parse_block(tokens: Sequence[_Token], position: int) -> tuple[_Node, int]:
    kind, _, condition = tokens[position].text.partition(" ")
    branches = []
    while True:
        body, position = _parse(tokens, position + 1)
        if position >= len(tokens):
            raise ValueError("a block is never closed")
        branches.append((condition, body))
        word, _, rest = tokens[position].text.partition(" ")
        if word == "end":
            return _Node(kind, branches=tuple(branches)), position
        condition = rest.removeprefix("if ") if rest else "true"


def _run(nodes: Sequence[_Node], fields: Mapping[str, object], variables: dict[str, object]) -> str:
    written = []
    for node in nodes:
        if node.kind == "text":
            written.append(node.text)
        elif node.kind == "action":
            written.append(_act(node.text, fields, variables))
        elif node.kind == "if":
            for condition, body in node.branches:
                if _evaluate(condition, fields, variables):
                    written.append(_run(body, fields, variables))
                    break
        else:
            turns = _evaluate(node.branches[0][0], fields, variables)
            if not isinstance(turns, list):
                raise ValueError("only a list can be ranged over")
            for turn in turns:
                inner = {"Role": turn["role"], "Content": turn["content"]}
                written.append(_run(node.branches[0][1], inner, variables))
    return "".join(written)


def _act(text: str, fields: Mapping[str, object], variables: dict[str, object]) -> str:
    match = re.fullmatch(r"(\$\w+)\s*:?=\s*(.+)", text)
    if match is None:
        return str(_evaluate(text, fields, variables))
    variables[match[1]] = _evaluate(match[2], fields, variables)
    return ""


def _evaluate(text: str, fields: Mapping[str, object], variables: Mapping[str, object]) -> object:
    if text in ("true", "false"):
        return text == "true"
    if text.startswith("$"):
        return variables[text]
    match = re.fullmatch(r'eq \.(\w+) "([^"]*)"', text)
    if match is not None:
        return fields[match[1]] == match[2]
    if re.fullmatch(r"\.\w+", text):
        return fields[text[1:]]
    raise ValueError(f"{text!r} is not known here")
