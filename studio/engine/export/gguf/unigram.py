"""Tokenizers of the unigram kind: llama.cpp looks for the likeliest pieces, as they do."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from studio.core.errors import ModelUnusable
from studio.engine.export.gguf.pretokenizers import flatten

SPACE = "\u2581"
# What a tokenizer that splits at white space splits at, besides the space itself.
_WHITE = "\t\n\r\x0b\x0c\u0085\u00a0\u1680\u2003\u2028\u2029\u3000"
_REMEDY = "Export the merged model instead; transformers and vLLM read its tokenizer as it is."


def check_unigram(content: Mapping[str, Any], *, has_template: bool) -> dict[str, bool]:
    """Returns how llama.cpp shall treat spaces, as flags of the file.

    It knows two ways: words with one space before each, or spaces as they are. Tokenizers that put
    a space before the very start of a text never do after the mark with which a chat template
    begins.

    Raises:
        ModelUnusable: Text is changed or cut in another way than llama.cpp does.
    """
    model = content["model"]
    if model.get("byte_fallback"):
        raise refuse("falls back to bytes, which llama.cpp does not do for unigram pieces")
    if model.get("unk_id") is None:
        raise refuse("has no token for what it does not know")
    drops_spaces = _check_normalizer(content)
    kinds = [part.get("type") for part in _get_cuts(content)]
    if not kinds or kinds[-1] != "Metaspace" or kinds[:-1] not in ([], ["WhitespaceSplit"]):
        raise refuse(f"cuts text into words in another way ({', '.join(map(str, kinds))})")
    metaspace = _get_cuts(content)[-1]
    scheme = metaspace.get("prepend_scheme", "always")
    has_prefix = scheme == "always" or (scheme == "first" and not has_template)
    is_split = len(kinds) > 1
    if is_split:
        _check_white_space(content)
    if (is_split or metaspace.get("split", True)) and any(
        SPACE in piece[1:] for piece, _ in model["vocab"]
    ):
        raise refuse("has pieces that reach over several words, but never uses them")
    if is_split or drops_spaces:
        if not has_prefix:
            raise refuse("puts no space before the first word")
        return {"add_space_prefix": True, "remove_extra_whitespaces": True}
    if has_prefix:
        raise refuse("puts a space before a text only where none is")
    return {"add_space_prefix": False, "remove_extra_whitespaces": False}


def get_charsmap(content: Mapping[str, Any]) -> bytes:
    """Returns the table by which characters are replaced first; empty where none are."""
    for part in _get_changes(content):
        if part.get("type") == "Precompiled":
            return base64.b64decode(part["precompiled_charsmap"])
    return b""


def build_unigram(
    pieces: Sequence[str],
    scores: Sequence[float],
    unknown: int,
    charsmap: bytes,
    *,
    is_split: bool,
    is_known: Sequence[bool],
) -> Tokenizer:
    """Returns a tokenizer that cuts as llama.cpp does with what a file says.

    ``is_known`` marks the pieces that text is made of.
    """
    worst = min(score for score, known in zip(scores, is_known, strict=True) if known)
    vocabulary = [
        # others have a place in the vocabulary, but no text is ever cut into them
        (piece, score) if known else (f"\ue000{index}", worst)
        for index, (piece, score, known) in enumerate(zip(pieces, scores, is_known, strict=True))
    ]
    backend = Tokenizer(models.Unigram(vocabulary, unknown, False))
    if charsmap:
        backend.normalizer = normalizers.Precompiled(charsmap)
    if is_split:
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
        )
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    return backend


def refuse(reason: str) -> ModelUnusable:
    """Returns the error for a tokenizer whose cuts llama.cpp could not repeat."""
    return ModelUnusable(
        f"The tokenizer of this model cannot be written for llama.cpp: it {reason}.", _REMEDY
    )


def _check_normalizer(content: Mapping[str, Any]) -> bool:
    """Returns whether spaces at the ends of a text and doubled ones are dropped."""
    parts = _get_changes(content)
    is_single = is_bare = False
    for place, part in enumerate(parts):
        kind = part.get("type")
        if kind == "Strip":
            is_bare |= bool(part.get("strip_right"))
        elif kind == "Replace" and (part.get("pattern") or {}).get("Regex") == " {2,}":
            if part.get("content") not in (" ", SPACE):
                raise refuse("writes several spaces as something else")
            is_single = True
        elif kind != "Precompiled" or place > 0:
            raise refuse(f"changes the text first ({kind})")
    if is_single != is_bare and not any(
        part.get("type") == "WhitespaceSplit" for part in _get_cuts(content)
    ):
        raise refuse("drops some spaces at the ends of a text and keeps others")
    return is_single and is_bare


def _check_white_space(content: Mapping[str, Any]) -> None:
    """Tabs and line ends must have become spaces before: llama.cpp cuts at spaces only."""
    charsmap = get_charsmap(content)
    change = normalizers.Precompiled(charsmap) if charsmap else None
    for sign in _WHITE:
        if change is None or change.normalize_str(f"a{sign}b").strip("ab") not in (" ", ""):
            raise refuse("cuts at tabs and line ends, where llama.cpp cuts at spaces only")


def _get_changes(content: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return flatten(content.get("normalizer"), "normalizers")


def _get_cuts(content: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return flatten(content.get("pre_tokenizer"), "pretokenizers")
