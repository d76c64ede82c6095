"""A fast tokenizer from a SentencePiece file of byte pairs, built without that library."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerFast

_UNKNOWN, _CONTROL, _USER = 2, 3, 4
BASE_MARKS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def mark_spaces(backend: Tokenizer) -> None:
    """Makes a tokenizer write spaces as marks, and bytes where it has no piece."""
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )


def add_start(backend: Tokenizer) -> None:
    """Makes a tokenizer put its ``<s>`` before every text."""
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))]
    )


def load_pieces(path: Path) -> PreTrainedTokenizerFast:
    """Returns the tokenizer of a file: Llama's way to read such files.

    Source: sentencepiece_model.proto (pieces are field 1: piece 1, score 2, type 3).
    """
    pieces = list(_iter_pieces(path.read_bytes()))
    numbers = {text: number for number, (text, _, _) in enumerate(pieces)}
    scores = [score for _, score, _ in pieces]
    merges = []
    for number, (text, score, _) in enumerate(pieces):
        for at in range(1, len(text)):
            left, right = text[:at], text[at:]
            if left in numbers and right in numbers:
                key = (-score, number, -scores[numbers[left]], -scores[numbers[right]])
                merges.append((key, (left, right)))
    merges.sort(key=lambda one: one[0])
    pairs = [pair for _, pair in merges]
    backend = Tokenizer(
        models.BPE(numbers, pairs, unk_token="<unk>", fuse_unk=True, byte_fallback=True)  # noqa: S106 - a text mark
    )
    mark_spaces(backend)
    special = [text for text, _, kind in pieces if kind in (_UNKNOWN, _CONTROL, _USER)]
    backend.add_special_tokens([AddedToken(text, special=True) for text in special])
    add_start(backend)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **BASE_MARKS)


def _iter_pieces(raw: bytes) -> Iterator[tuple[str, float, int]]:
    """Yields text, score and kind of all pieces."""
    for field, value in _iter_fields(raw):
        if field == 1:
            parts = dict(_iter_fields(value))
            (score,) = struct.unpack("<f", parts[2])
            yield parts[1].decode(), score, parts.get(3, 1)


def _iter_fields(raw: bytes) -> Iterator[tuple[int, Any]]:
    """Yields number and value of the fields of a message of protocol buffers."""
    at = 0
    while at < len(raw):
        tag, at = _read_number(raw, at)
        kind = tag & 7
        if kind == 0:
            value, at = _read_number(raw, at)
            yield tag >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind, 0)
        if kind == 2:
            size, at = _read_number(raw, at)
        yield tag >> 3, raw[at : at + size]
        at += size


def _read_number(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (raw[at] & 127) << shift
        shift += 7
        at += 1
        if not raw[at - 1] & 128:
            return value, at
