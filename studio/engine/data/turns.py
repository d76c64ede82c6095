"""Reading chat turns: OpenAI messages and ShareGPT conversations into our own turns."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from studio.core.json_text import parse_json
from studio.engine.data.conversation import Role, Turn

OPENAI_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
SHAREGPT_ROLES: dict[str, Role] = {
    **OPENAI_ROLES,
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "observation": "tool",
    "tool_response": "tool",
}
_LONGEST_NAME = 60
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_CALL_ROLES = ("function_call", "tool_call")
_KEPT_KEYS = ("name", "tool_call_id", "reasoning_content", "thinking")


class RowInvalid(ValueError):
    """A row does not have the shape of its format; the text says what is wrong with it."""


def read_messages(value: object) -> tuple[Turn, ...]:
    """Return the turns of an OpenAI ``messages`` list.

    Raises:
        RowInvalid: An entry lacks a role or a content, or has an unknown role.
    """
    return tuple(
        _read_message(entry, position) for position, entry in enumerate(_entries(value), start=1)
    )


def read_sharegpt(value: object) -> tuple[Turn, ...]:
    """Return the turns of a ShareGPT list with ``from`` and ``value``.

    Raises:
        RowInvalid: An entry lacks from or value, or has an unknown speaker.
    """
    return tuple(
        _read_sharegpt_entry(entry, position)
        for position, entry in enumerate(_entries(value), start=1)
    )


def read_tools(value: object) -> tuple[Mapping[str, Any], ...]:
    """Return tool descriptions in OpenAI's form; a JSON text is accepted as well.

    Raises:
        RowInvalid: The tools are neither a list of objects nor JSON for one.
    """
    if isinstance(value, str):
        if not value.strip():
            return ()
        try:
            value = parse_json(value)
        except ValueError as error:
            raise RowInvalid(f"the tools are not valid JSON ({error})") from error
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        raise RowInvalid("the tools must be a list of objects")
    return tuple(
        tool if "function" in tool else {"type": "function", "function": tool} for tool in value
    )


def check_text(value: object, what: str) -> str:
    """Return the text itself.

    Raises:
        RowInvalid: It is not text, or holds characters that cannot be written as UTF-8.
    """
    if not isinstance(value, str):
        raise RowInvalid(f"{what} holds {kind_name(value)}; text is expected")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise RowInvalid(
                f"{what} holds half of a character pair (a lone surrogate, position "
                f"{error.start + 1})"
            ) from error
    return value


def kind_name(value: object) -> str:
    """Return what a value is, in words."""
    names: dict[type, str] = {
        str: "text",
        int: "a number",
        float: "a number",
        bool: "true or false",
        list: "a list",
        dict: "an object",
        type(None): "nothing (null)",
    }
    return names.get(type(value), "something unknown")


def quoted(name: object) -> str:
    """Return what stands in a file in quotation marks, shortened: it can be a megabyte long."""
    if not isinstance(name, str):
        return repr(name)[:_LONGEST_NAME]
    return repr(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…")


def _entries(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise RowInvalid(f"the conversation is {kind_name(value)}; a list of turns is expected")
    if not value:
        raise RowInvalid("the conversation has no turns")
    for position, entry in enumerate(value, start=1):
        if not isinstance(entry, dict):
            raise RowInvalid(f"turn {position} is {kind_name(entry)}; an object is expected")
    return value


def _role(known: Mapping[str, Role], name: object, position: int) -> Role:
    if isinstance(name, str) and name.strip().lower() in known:
        return known[name.strip().lower()]
    raise RowInvalid(
        f"turn {position} has the unknown role {quoted(name)} "
        f"(known are {', '.join(sorted(known))})"
    )


def _read_message(entry: dict[str, Any], position: int) -> Turn:
    if len(entry) == 2:
        # nearly every message of nearly every file: who, and what
        name, content = entry.get("role"), entry.get("content")
        if type(name) is str and name in OPENAI_ROLES and type(content) is str:
            return Turn(OPENAI_ROLES[name], check_text(content, f"turn {position}"), _NOTHING)
    if "role" not in entry:
        raise RowInvalid(f"turn {position} has no role")
    role = _role(OPENAI_ROLES, entry["role"], position)
    extra = {key: entry[key] for key in _KEPT_KEYS if entry.get(key) is not None}
    is_trained = _is_trained(entry, position)
    calls = entry.get("tool_calls")
    if calls:
        extra["tool_calls"] = _read_calls(calls, position)
    value = _join_blocks(entry.get("content"), position)
    if value is None:
        if role == "assistant" and calls:
            return Turn(role, None, extra, is_trained)
        raise RowInvalid(f"turn {position} ({role}) has no content")
    return Turn(role, check_text(value, f"turn {position}"), extra, is_trained)


def _is_trained(entry: dict[str, Any], position: int) -> bool:
    """Return what ``weight`` (OpenAI: 0 or 1) or ``train`` (true or false) says; True without."""
    for key in ("weight", "train"):
        value = entry.get(key)
        if value is not None:
            if value not in (0, 1):
                raise RowInvalid(f"turn {position}: {key} is {quoted(value)}; 0 or 1 is expected")
            return bool(value)
    return True


def _join_blocks(content: object, position: int) -> object:
    """Return the text of a content list; pictures and sounds are refused."""
    if not isinstance(content, list):
        return content
    texts = []
    for block in content:
        if (
            not isinstance(block, dict)
            or block.get("type", "text") != "text"
            or "text" not in block
        ):
            raise RowInvalid(f"turn {position} holds something else than text (picture, sound …)")
        texts.append(check_text(block["text"], f"turn {position}"))
    return "".join(texts)


def _read_calls(calls: object, position: int) -> list[dict[str, Any]]:
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise RowInvalid(f"turn {position}: tool_calls must be a list of objects")
    return [_read_call(call, position) for call in calls]


def _read_call(call: dict[str, Any], position: int) -> dict[str, Any]:
    function = call.get("function", call)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RowInvalid(f"turn {position}: a tool call has no name")
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = parse_json(arguments)
        except ValueError:
            arguments = function["arguments"]  # a template may still print the text as it is
    cleaned = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
    return {**cleaned, **({"id": call["id"]} if isinstance(call.get("id"), str) else {})}


def _read_sharegpt_entry(entry: dict[str, Any], position: int) -> Turn:
    if "from" not in entry or "value" not in entry:
        raise RowInvalid(f"turn {position} lacks from or value")
    role = _role(SHAREGPT_ROLES, entry["from"], position)
    text = check_text(entry["value"], f"turn {position}")
    if str(entry["from"]).strip().lower() in _CALL_ROLES:
        return _call_turn(text, position)
    return Turn(role, text)


def _call_turn(text: str, position: int) -> Turn:
    """Return an assistant turn whose text is a tool call written as JSON."""
    try:
        value = parse_json(text)
    except ValueError:
        return Turn("assistant", text)
    calls = value if isinstance(value, list) else [value]
    if not calls or not all(isinstance(call, dict) and "name" in call for call in calls):
        return Turn("assistant", text)
    return Turn("assistant", None, {"tool_calls": [_read_call(call, position) for call in calls]})
