"""What a row says, as numbers to compare: equal rows, equal prompts, equal answers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from studio.engine.data.conversation import Conversation, Record, RunningText


@dataclass(frozen=True)
class RowDigest:
    """Numbers that are equal where two rows say the same but for case and blanks.

    ``key`` (16 bytes) is about the whole row, ``prompt`` and ``answer`` (64 bits) about what
    stands before the last answer and the last answer itself; 0 where there is none.
    """

    key: bytes
    prompt: int = 0
    answer: int = 0


def digest_row(record: Record) -> RowDigest:
    """Return the digest of a row; a pure function of its content."""
    if isinstance(record, RunningText):
        return RowDigest(_hash(_fold(record.text), b"text"))
    if not isinstance(record, Conversation):
        return RowDigest(_hash(repr((record.ids, record.supervised)), b"tokens"))
    texts = [turn.content or "" for turn in record.turns]
    if record.tools or any(turn.extra for turn in record.turns):
        calls = [sorted(turn.extra.items()) for turn in record.turns]
        texts.insert(0, repr((calls, record.tools)))
    prompt = _hash(_fold("\0".join(texts[:-1])), b"chat")
    answer = _hash(_fold(texts[-1]), b"chat")
    return RowDigest(
        prompt[:8] + answer[:8],
        int.from_bytes(prompt[:8], "little"),
        int.from_bytes(answer[:8], "little"),
    )


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())


def _hash(text: str, kind: bytes) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, digest_size=16, person=kind).digest()
