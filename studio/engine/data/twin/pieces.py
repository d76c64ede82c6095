"""The regular expression by which a tokenizer divides text into pieces, where it is one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

GPT2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
"""What the pre-tokenizer ByteLevel does by itself."""
_GPT2_BETWEEN_DIGITS = (
    r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?=\p{N})|\s+(?!\S)|\s+"""
)
"""The same for text whose digits were set apart before: blanks at a digit stand at an end."""

_ESCAPE = r"\\(?:p\{(?:L|Lu|Ll|Lt|Lm|Lo|M|N|P|S)\}|[rntsS])"
_IN_CLASS = rf"(?:{_ESCAPE}|\\[\]\[\-^/]|[^\]\[\\&^])"
_UNIT = rf"(?:{_ESCAPE}|\[\^?{_IN_CLASS}+\]|[^\\.^$*+?{{}}\[\]|()])"
_COUNT = r"(?:[?+*]|\{\d{1,2}(?:,\d{0,2})?\})(?![?+*{])"
_GROUP = rf"\((?:\?i:|\?:|\?!|\?=)(?:{_UNIT}(?:{_COUNT})?|\|)+\)"
_UNDERSTOOD = re.compile(rf"(?:(?:{_UNIT}|{_GROUP})(?:{_COUNT})?|\|)+", re.DOTALL)
"""What Oniguruma (HF) and fancy-regex (tiktoken) read alike: no possessive or lazy repeats, no
anchors, no nested classes, no back references."""


def find_pattern(pre_tokenizer: Mapping[str, Any] | None) -> str | None:
    """Return the expression for plain ASCII text; None where the pieces are made otherwise.

    Args:
        pre_tokenizer: The part of that name of a tokenizer.json.
    """
    if pre_tokenizer is None:
        return None
    if pre_tokenizer.get("type") != "Sequence":
        return GPT2 if _is_byte_level(pre_tokenizer, uses_regex=True) else None
    steps = pre_tokenizer.get("pretokenizers") or []
    if len(steps) != 2:
        return None
    first, second = steps
    if first.get("type") == "Digits" and first.get("individual_digits") is True:
        return _GPT2_BETWEEN_DIGITS if _is_byte_level(second, uses_regex=True) else None
    if first.get("type") != "Split" or not _is_byte_level(second, uses_regex=False):
        return None
    if first.get("behavior") != "Isolated" or first.get("invert"):
        return None
    pattern = first.get("pattern", {}).get("Regex")
    return pattern if pattern and _UNDERSTOOD.fullmatch(pattern) else None


def _is_byte_level(step: Mapping[str, Any], *, uses_regex: bool) -> bool:
    return (
        step.get("type") == "ByteLevel"
        and step.get("add_prefix_space") is False
        and step.get("use_regex", True) is uses_regex
    )
