"""From rendered text to token numbers and the mask of supervised tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from studio.core.errors import ModelUnusable
from studio.engine.data.answers import Span
from studio.engine.data.byte_spans import ByteSpans, SpannedText
from studio.engine.data.conversation import TokenRow
from studio.engine.data.example import Flags, Ids
from studio.engine.data.twin.quick import QuickTokens

Supervise = Literal["responses", "last_response", "everything"]
BATCH_ROWS = 512
"""Rows that are written, tokenised and looked at together; more take memory and save no time."""
COUNTED_ROWS = 128
"""Rows tokenised by one call without offsets: what fits the caches is a quarter faster."""
FEWEST_TO_COUNT = 256
"""Rows in a batch from which it pays to look at the whole vocabulary once."""
BATCH_CHARACTERS = 1 << 22
"""Characters tokenised by one call, so that long rows do not fill the memory."""


@dataclass(frozen=True)
class TextToEncode:
    """Text with the character spans of its answers; running text has none.

    ``trained`` are the spans to learn; None leaves it to the encoder.
    """

    text: str
    answers: tuple[Span, ...]
    head_characters: int = 0
    trained: tuple[Span, ...] | None = None


@dataclass(frozen=True)
class Encoded:
    """A whole row in tokens, before anything is cut.

    ``ids`` has the shape ``(tokens,)``. ``trained`` and ``answers`` are token spans; answers are
    never cut. ``head_tokens`` stand before the first question. ``problems`` are codes.
    """

    ids: Ids
    trained: tuple[Span, ...]
    answers: tuple[Span, ...]
    head_tokens: int
    bos_tokens: int
    problems: tuple[str, ...]

    @property
    def supervised(self) -> Flags:
        """Which tokens are trained; shape ``(tokens,)``."""
        flags = np.zeros(len(self.ids), dtype=np.bool_)
        for first, behind in self.trained:
            flags[first:behind] = True
        return flags


class Encoder:
    """Tokenises in batches inside the Rust tokenizer, without copying offsets to Python."""

    def __init__(self, tokenizer: Any, supervise: Supervise = "responses") -> None:
        """Take a fast tokenizer of transformers.

        Raises:
            ModelUnusable: The tokenizer has no fast version, so that nothing tells which
                characters a token stands for.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise ModelUnusable(
                "The model's tokenizer has no fast version (tokenizer.json), so it cannot be seen "
                "which tokens belong to an answer.",
                "Use a model folder that holds tokenizer.json.",
            )
        self._backend = tokenizer.backend_tokenizer
        self._supervise = supervise
        self._quick = QuickTokens(self._backend, len(tokenizer))
        self._bytes: ByteSpans | None = None
        self._is_examined = False
        self._bos_id: int | None = tokenizer.bos_token_id
        self._bos: str = tokenizer.bos_token or ""
        with_marks = tokenizer("a")["input_ids"]
        self._wants_bos = self._bos_id is not None and with_marks[:1] == [self._bos_id]

    @property
    def is_disproved(self) -> bool:
        """Whether the quick way to tokenise turned out to differ; it is not taken again."""
        return self._quick.is_disproved

    def encode(self, texts: Sequence[TextToEncode]) -> list[Encoded]:
        """Return the tokens of each text; special tokens are added nowhere but BOS at the start.

        BOS is added where the tokenizer adds it by itself and the text does not start with it.
        """
        self._backend.no_truncation()
        self._backend.no_padding()
        if len(texts) >= FEWEST_TO_COUNT and not self._is_examined:
            self._is_examined = True
            self._bytes = ByteSpans.of(self._backend)
        if self._bytes is None:
            return self._encode_with_offsets(texts)
        return self._encode_by_counting(texts, self._bytes)

    def _encode_with_offsets(self, texts: Sequence[TextToEncode]) -> list[Encoded]:
        raw = [one.text for one in texts]
        encodings = self._backend.encode_batch(raw, add_special_tokens=False)
        return [self._mark(one, encoding) for one, encoding in zip(texts, encodings, strict=True)]

    def _encode_by_counting(
        self, texts: Sequence[TextToEncode], counted: ByteSpans
    ) -> list[Encoded]:
        """Return the tokens of each text; those that cannot be counted get offsets."""
        self._quick.expect(sum(len(one.text) for one in texts))
        plain = [place for place, one in enumerate(texts) if self._quick.covers(one.text)]
        done: list[Encoded | None] = [None] * len(texts)
        for start in range(0, len(plain), COUNTED_ROWS):
            places = plain[start : start + COUNTED_ROWS]
            marked = self._mark_by_counting([texts[place] for place in places], counted)
            for place, found in zip(places, marked, strict=True):
                done[place] = found
        rest = [place for place, found in enumerate(done) if found is None]
        if len(rest) - (len(texts) - len(plain)) > len(plain) // 4:
            self._bytes = None  # mostly in vain with this template
        exact = iter(self._encode_with_offsets([texts[place] for place in rest]))
        return [next(exact) if found is None else found for found in done]

    def _mark_by_counting(
        self, texts: Sequence[TextToEncode], counted: ByteSpans
    ) -> list[Encoded | None]:
        flat, each = self._quick.encode([one.text for one in texts])
        counts = each.tolist()
        asked = [
            SpannedText(one.text, (*one.answers, *(one.trained or ())), one.head_characters)
            for one in texts
        ]
        marked: list[Encoded | None] = []
        stop = 0
        for one, count, found in zip(texts, counts, counted.find(flat, counts, asked), strict=True):
            start, stop = stop, stop + count
            marked.append(None if found is None else self._build(one, flat[start:stop], *found))
        return marked

    def _build(self, one: TextToEncode, ids: Ids, spans: list[Span], head: int) -> Encoded:
        added = int(self._wants_bos and not (self._bos and one.text.startswith(self._bos)))
        if added:
            ids = np.concatenate([np.array([self._bos_id], dtype=np.int32), ids])
            spans = [(first + 1, behind + 1) for first, behind in spans]
        bos_tokens = int(self._bos_id is not None and int(ids[0]) == self._bos_id)
        is_double = bos_tokens and len(ids) > 1 and int(ids[1]) == self._bos_id
        answers = tuple(spans[: len(one.answers)])
        return Encoded(
            ids=ids,
            trained=self._chosen(answers, bos_tokens, len(ids))
            if one.trained is None
            else tuple(spans[len(one.answers) :]),
            answers=answers,
            head_tokens=added + head,
            bos_tokens=bos_tokens,
            problems=("double_bos",) if is_double else (),
        )

    def prompt_ids(self, prompt: str) -> list[int]:
        """Return the tokens of a prompt, with BOS exactly as in training."""
        return [int(number) for number in self.encode([TextToEncode(prompt, ())])[0].ids]

    def _mark(self, one: TextToEncode, encoding: Any) -> Encoded:
        ids = encoding.ids
        added = int(self._wants_bos and not (self._bos and one.text.startswith(self._bos)))
        if added:
            ids = [self._bos_id, *ids]
        bos_tokens = int(self._bos_id is not None and ids[:1] == [self._bos_id])
        answers = tuple(
            (first + added, last + added)
            for first, last in (token_span(encoding, one.text, span) for span in one.answers)
        )
        problems = ("double_bos",) if bos_tokens and ids[1:2] == [self._bos_id] else ()
        return Encoded(
            ids=np.array(ids, dtype=np.int32),
            trained=self._chosen(answers, bos_tokens, len(ids))
            if one.trained is None
            else _tokens_of(one.trained, encoding, one.text, added),
            answers=answers,
            head_tokens=added + _tokens_before(encoding, one.head_characters),
            bos_tokens=bos_tokens,
            problems=problems,
        )

    def _chosen(self, answers: tuple[Span, ...], bos_tokens: int, length: int) -> tuple[Span, ...]:
        if self._supervise == "everything" or not answers:
            return ((bos_tokens, length),)
        return answers if self._supervise == "responses" else answers[-1:]


def _tokens_of(spans: Sequence[Span], encoding: Any, text: str, added: int) -> tuple[Span, ...]:
    found = (token_span(encoding, text, span) for span in spans)
    return tuple((first + added, behind + added) for first, behind in found if behind > first)


def encode_token_row(record: TokenRow) -> Encoded:
    """Return a row whose token numbers were prepared elsewhere; runs of learnt tokens are answers.

    Where everything is learnt there are no answers, as in running text.
    """
    supervised = np.array(record.supervised, dtype=np.bool_)
    edges = np.flatnonzero(np.diff(supervised, prepend=False, append=False)).tolist()
    answers = tuple(zip(edges[::2], edges[1::2], strict=True))
    return Encoded(
        ids=np.array(record.ids, dtype=np.int32),
        trained=answers,
        answers=() if supervised.all() else answers,
        head_tokens=0,
        bos_tokens=0,
        problems=(),
    )


def token_span(encoding: Any, text: str, span: Span) -> Span:
    """Return the tokens ``(first, behind last)`` that stand for a span of characters.

    A token that begins in the prompt belongs to the prompt, unless only a blank of it does:
    tokenizers glue the blank before a word to the word.
    """
    start, end = span
    first = None
    for at in range(start, end):
        first = encoding.char_to_token(at)
        if first is not None:
            break
    if first is None:
        return 0, 0
    begin = encoding.token_to_chars(first)[0]
    if begin < start and text[begin:start].strip():
        first += 1
    last = None
    for at in range(end - 1, start - 1, -1):
        last = encoding.char_to_token(at)
        if last is not None:
            break
    behind = (first if last is None else max(last, first - 1)) + 1
    # One character can be several tokens (bytes); the search above stops at the first of them.
    while behind < len(encoding.ids):
        place = encoding.token_to_chars(behind)
        if place is None or place[0] >= end or place[0] == place[1]:
            break
        behind += 1
    return first, max(first, behind)


def _tokens_before(encoding: Any, characters: int) -> int:
    if characters <= 0:
        return 0
    token = encoding.char_to_token(characters)
    return 0 if token is None else int(token)
