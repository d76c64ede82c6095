"""Tokenizers of the SentencePiece kind: llama.cpp joins their pieces by score, not by merges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gguf

from studio.core.errors import ModelUnusable
from studio.engine.export.gguf.pretokenizers import flatten

_SPACE = "\u2581"
_REMEDY = "Export the merged model instead; transformers and vLLM read its tokenizer as it is."
_NO_SCORE = -1000.0


def build_piece_scores(
    content: Mapping[str, Any],
    tokens: Sequence[str],
    kinds: Sequence[int],
    merges: Sequence[Sequence[str]],
) -> tuple[float, ...]:
    """Returns a score per token, higher for pieces that are joined earlier.

    The order of the merges is the order of the scores, provided that all ways to build a piece
    stand together; this is checked, so that both algorithms give the same pieces.

    Raises:
        ModelUnusable: The merges say more than scores can.
    """
    order: dict[str, int] = {}
    ways: dict[str, set[int]] = {}
    last = ""
    for left, right in merges:
        piece = left + right
        if piece != last and piece in order:
            raise _refuse("the ways to build one piece do not follow each other")
        order.setdefault(piece, len(order))
        ways.setdefault(piece, set()).add(len(left))
        last = piece
    vocabulary = content["model"]["vocab"]
    normal = {text for text in vocabulary if kinds[vocabulary[text]] == int(gguf.TokenType.NORMAL)}
    for piece, cuts in ways.items():
        possible = {
            cut
            for cut in range(1, len(piece))
            if piece[:cut] in vocabulary and piece[cut:] in vocabulary
        }
        if possible != cuts:
            raise _refuse(f"{piece!r} is not built from all its parts")
    reachable = {piece for piece in normal if len(piece) > 1 and piece not in order}
    for piece in reachable:
        if any(piece[:c] in vocabulary and piece[c:] in vocabulary for c in range(1, len(piece))):
            raise _refuse(f"{piece!r} is never built, although its parts are there")
    return tuple(
        float(-order[text]) if kind == int(gguf.TokenType.NORMAL) and text in order else _NO_SCORE
        for text, kind in zip(tokens, kinds, strict=True)
    )


def get_space_prefix(content: Mapping[str, Any], *, has_template: bool) -> bool:
    """Returns whether llama.cpp shall put a space before the text.

    Tokenizers that do so only at the very start of a text never do after the mark with which a
    chat template begins, so that the answer is no where there is a template.

    Raises:
        ModelUnusable: Text is changed or cut in another way than llama.cpp does for pieces.
    """
    prefix = False
    for part in flatten(content.get("normalizer"), "normalizers"):
        kind = part.get("type")
        if kind == "Prepend" and part.get("prepend") == _SPACE:
            prefix = True
        elif not (kind == "Replace" and _replaces_spaces(part)):
            raise _refuse(f"text is changed first ({kind})")
    for part in flatten(content.get("pre_tokenizer"), "pretokenizers"):
        kind = part.get("type")
        if kind == "Metaspace" and not part.get("split", True):
            scheme = part.get("prepend_scheme", "always")
            prefix = scheme == "always" or (scheme == "first" and not has_template)
        elif not (kind == "Split" and (part.get("pattern") or {}).get("String") == " "):
            raise _refuse(f"text is cut into words first ({kind})")
    return prefix


def _replaces_spaces(part: Mapping[str, Any]) -> bool:
    return (part.get("pattern") or {}).get("String") == " " and part.get("content") == _SPACE


def _refuse(reason: str) -> ModelUnusable:
    return ModelUnusable(
        f"The tokenizer of this model cannot be written for llama.cpp: {reason}.", _REMEDY
    )
