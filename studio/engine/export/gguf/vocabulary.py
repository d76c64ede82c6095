"""The tokenizer of a model as llama.cpp stores it: pieces, kinds, merges or scores, marks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
from transformers import PreTrainedTokenizerFast

from studio.core.errors import ModelUnusable
from studio.engine.export.gguf.pieces import build_piece_scores, get_space_prefix
from studio.engine.export.gguf.pretokenizers import find_pretokenizer, flatten
from studio.engine.export.gguf.unigram import check_unigram, get_charsmap
from studio.engine.models.files import load_tokenizer

Kind = gguf.TokenType
_REMEDY = "Export the merged model instead; transformers and vLLM read its tokenizer as it is."
_PROBE = "Q7w"
# llama.cpp wants at least one merge; these two characters never occur in byte-level text.
_NO_MERGES = ("\ue000 \ue001",)


@dataclass(frozen=True)
class Vocabulary:
    """Everything a GGUF file says about the tokenizer.

    ``model`` is ``gpt2`` (byte-level merges), ``llama`` (pieces joined by score) or ``t5`` (the
    likeliest pieces). ``marks`` are the ids of tokens with a role, such as ``eos``. ``flags`` such
    as ``add_bos_token`` are stored as they are. ``charsmap`` replaces characters first.
    """

    model: str
    pre: str
    tokens: tuple[str, ...]
    kinds: tuple[int, ...]
    merges: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    marks: Mapping[str, int] = field(default_factory=dict)
    flags: Mapping[str, bool] = field(default_factory=dict)
    chat_template: str | None = None
    charsmap: bytes = b""


def read_vocabulary(folder: Path, row_count: int, generation_ends: Sequence[int]) -> Vocabulary:
    """Returns the tokenizer in ``folder`` for a model whose table has ``row_count`` rows.

    ``generation_ends`` are further ids that end an answer, as the model's settings name them.

    Raises:
        ModelUnusable: llama.cpp cannot cut text as this tokenizer does.
    """
    tokenizer = load_tokenizer(folder)
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    model = content["model"]
    if model.get("type") == "Unigram":
        return _read_unigram(tokenizer, content, row_count, generation_ends)
    if model.get("type") != "BPE":
        raise _refuse(f"is of the type {model.get('type')}")
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise _refuse("marks the inside or the end of words")
    tokens, kinds = _lay_out(content, row_count, is_pieces=bool(model.get("byte_fallback")))
    flags = _find_flags(tokenizer)
    merges = [pair if isinstance(pair, list) else pair.split(" ") for pair in model["merges"]]
    template = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else None
    marks = _find_marks(tokenizer, template, generation_ends)
    if model.get("byte_fallback"):
        scores = build_piece_scores(content, tokens, kinds, merges)
        flags["add_space_prefix"] = get_space_prefix(content, has_template=template is not None)
        return Vocabulary("llama", "default", tokens, kinds, (), scores, marks, flags, template)
    names = {part.get("type") for part in flatten(content.get("normalizer"), "normalizers")}
    if names - {"NFC"}:
        raise _refuse(f"changes the text first ({', '.join(sorted(map(str, names)))})")
    joined = tuple(" ".join(pair) for pair in merges) or _NO_MERGES
    pre = find_pretokenizer(content)
    return Vocabulary("gpt2", pre, tokens, kinds, joined, (), marks, flags, template)


def _read_unigram(
    tokenizer: PreTrainedTokenizerFast,
    content: dict[str, Any],
    row_count: int,
    generation_ends: Sequence[int],
) -> Vocabulary:
    template = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else None
    flags = check_unigram(content, has_template=template is not None) | _find_flags(tokenizer)
    pieces = content["model"]["vocab"]
    model = {
        "vocab": {piece: index for index, (piece, _) in enumerate(pieces)},
        "unk_token": pieces[content["model"]["unk_id"]][0],
    }
    tokens, kinds = _lay_out(content | {"model": model}, row_count, is_pieces=True)
    scores = [float(score) for _, score in pieces]
    marks = _find_marks(tokenizer, template, generation_ends)
    marks["unknown"] = int(content["model"]["unk_id"])
    return Vocabulary(
        "t5",
        "default",
        tokens,
        kinds,
        scores=tuple(scores + [0.0] * (row_count - len(scores))),
        marks=marks,
        flags=flags,
        chat_template=template,
        charsmap=get_charsmap(content),
    )


def _lay_out(
    content: Mapping[str, Any], row_count: int, *, is_pieces: bool
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Returns text and kind of every row; rows without a token get names that nobody types."""
    vocabulary: Mapping[str, int] = content["model"]["vocab"]
    added = content.get("added_tokens") or ()
    largest = max([*vocabulary.values(), *(token["id"] for token in added)], default=-1)
    if largest >= row_count:
        raise _refuse(f"has {largest + 1} tokens, but the model has only {row_count} rows for them")
    tokens = [f"[PAD{index}]" for index in range(row_count)]
    kinds = [int(Kind.UNUSED)] * row_count
    unknown = content["model"].get("unk_token")
    for text, index in vocabulary.items():
        tokens[index] = text
        is_byte = is_pieces and len(text) == 6 and text.startswith("<0x") and text.endswith(">")
        is_unknown = is_pieces and text == unknown
        kinds[index] = int(Kind.BYTE if is_byte else Kind.UNKNOWN if is_unknown else Kind.NORMAL)
    for token in added:
        index, text = token["id"], token["content"]
        if kinds[index] == int(Kind.UNKNOWN):
            continue
        is_special = token["special"]
        # llama.cpp looks for these in the raw text, before spaces become marks.
        tokens[index] = text if is_special or not is_pieces else text.replace("\u2581", " ")
        kinds[index] = int(Kind.CONTROL if is_special else Kind.USER_DEFINED)
    return tuple(tokens), tuple(kinds)


def _find_flags(tokenizer: PreTrainedTokenizerFast) -> dict[str, bool]:
    """Returns which marks the tokenizer puts around a text by itself."""
    ids = tokenizer(_PROBE).input_ids
    bare = tokenizer(_PROBE, add_special_tokens=False).input_ids
    begins = ids[: 1 + len(bare)] == [tokenizer.bos_token_id, *bare]
    ends = ids[-1 - len(bare) :] == [*bare, tokenizer.eos_token_id]
    if len(ids) != len(bare) + begins + ends:
        raise _refuse("puts other marks around a text than one at its start and one at its end")
    return {"add_bos_token": begins, "add_eos_token": ends}


def _find_marks(
    tokenizer: PreTrainedTokenizerFast, template: str | None, generation_ends: Sequence[int]
) -> dict[str, int]:
    marks = {
        name: getattr(tokenizer, f"{token}_token_id")
        for name, token in (
            ("bos", "bos"),
            ("eos", "eos"),
            ("unknown", "unk"),
            ("padding", "pad"),
        )
    }
    ends = [] if template is None else find_turn_end(tokenizer)
    others = [
        index
        for index in dict.fromkeys([*ends, *generation_ends])
        if index not in (marks["eos"], marks["bos"])
    ]
    if marks["eos"] is None and others:
        marks["eos"] = others.pop(0)
    # llama.cpp ends an answer at each of these.
    marks |= dict(zip(("eot", "eom"), others, strict=False))
    return {name: int(index) for name, index in marks.items() if index is not None}


def find_turn_end(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Returns the id of the token that the chat template writes after an answer, if it is one.

    A template that does not accept the short conversation tried here has none.
    """
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _PROBE}]
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    except Exception:  # noqa: BLE001 - a template is a program of its own and fails as it likes
        return []
    ids = tokenizer(text.rpartition(_PROBE)[2].strip(), add_special_tokens=False).input_ids
    is_mark = ids and ids[0] in tokenizer.added_tokens_decoder
    return [ids[0]] if is_mark else []


def _refuse(reason: str) -> ModelUnusable:
    return ModelUnusable(
        f"The tokenizer of this model cannot be written for llama.cpp: it {reason}.", _REMEDY
    )
