"""Looking into what rows say: control marks typed by people, secrets, broken encodings."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from studio.engine.data.open_places import holds_place

_KEY_STARTS = (
    "sk-",
    "AKIA",
    "ASIA",
    "ghp_",
    "gho_",
    "github_pat_",
    "hf_",
    "xox",
    "AIza",
    "-----BEGIN",
)
_KEYS = re.compile(
    r"\bsk-[A-Za-z0-9_-]{20,}|\bA[KS]IA[0-9A-Z]{16}\b|\bgh[po]_[A-Za-z0-9]{36}"
    r"|\bgithub_pat_[A-Za-z0-9_]{40,}|\bhf_[A-Za-z0-9]{30,}|\bxox[abprs]-[A-Za-z0-9-]{10,}"
    r"|\bAIza[0-9A-Za-z_-]{35}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_ADDRESS = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})*\.[A-Za-z]{2,24}\b")
_RESERVED = re.compile(r"@(?:[\w-]+\.)*example\.(?:com|org|net)\b|\.(?:example|test|invalid)\b")
# UTF-8 read as Windows-1252: "Ã©" for é, "â€™" for an apostrophe; and the replacement character.
_MISREAD = re.compile("\ufffd|[ÃÂ][\x80-\xbf]|Ã[\u0152-\u2122]|â€")


class ContentChecks:
    """Finds what must not pass unnoticed; cheap for rows in which there is nothing."""

    def __init__(self, marks: Collection[str], ends: Collection[str]) -> None:
        """Prepare for one tokenizer.

        Args:
            marks: Texts of its control tokens.
            ends: Those of them that begin and end a document; running text may hold them.
        """
        self._marks = _any_of(marks)
        self._text_marks = _any_of(set(marks) - set(ends))
        self._firsts = tuple({mark[0] for mark in marks if mark})

    def check(self, texts: Sequence[str], *, is_text: bool) -> tuple[str, ...]:
        """Return the codes of what was found in the texts of one row."""
        joined = "\n".join(texts)
        found: list[str] = []
        marks = self._text_marks if is_text else self._marks
        if marks and _holds_any(joined, self._firsts) and marks.search(joined):
            found.append("marks_in_text" if is_text else "typed_marks")
        if "@" in joined and any(
            not _RESERVED.search(one.group()) for one in _ADDRESS.finditer(joined)
        ):
            found.append("email_address")
        if _holds_any(joined, _KEY_STARTS) and _KEYS.search(joined):
            found.append("secret_key")
        if holds_place(joined):
            found.append("unfilled_places")
        if not joined.isascii() and _MISREAD.search(joined):
            found.append("wrong_encoding")
        return tuple(found)


def _holds_any(text: str, parts: Sequence[str]) -> bool:
    for part in parts:  # noqa: SIM110 - a generator costs three times what looking costs
        if part in text:
            return True
    return False


def _any_of(marks: Collection[str]) -> re.Pattern[str] | None:
    longest_first = sorted((mark for mark in marks if mark), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
