"""Turning records into tokens, batch by batch, and noting what is wrong with each row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.answers import Span, TemplateRefused
from studio.engine.data.contents import ContentChecks
from studio.engine.data.conversation import (
    Conversation,
    Record,
    RunningText,
    TokenRow,
)
from studio.engine.data.digest import RowDigest, digest_row
from studio.engine.data.open_places import find_places, list_texts, quote_place
from studio.engine.data.problems import leaves_row_out
from studio.engine.data.rendered import Rendered
from studio.engine.data.sources.row import Row
from studio.engine.data.template import Template, build_template
from studio.engine.data.thoughts import drop_thoughts, find_lost, has_thoughts
from studio.engine.data.tokenize import (
    BATCH_CHARACTERS,
    BATCH_ROWS,
    Encoded,
    Encoder,
    TextToEncode,
    encode_token_row,
)
from studio.engine.data.truncate import Piece, divide_text, fit_conversation


@dataclass(frozen=True)
class EncodedRow:
    """One row in tokens, uncut; ``encoded`` is None where the template refused the row.

    ``problems`` are codes; ``detail`` is what the template said. ``places`` has the names of open
    places, those that were filled among them, each with a few words around it while it is open.
    """

    row: Row
    encoded: Encoded | None
    digest: RowDigest
    is_text: bool
    characters: int = 0
    problems: tuple[str, ...] = ()
    detail: str = ""
    places: tuple[tuple[str, str], ...] = ()

    @property
    def is_left_out(self) -> bool:
        """Whether a problem keeps the row from being trained."""
        return any(leaves_row_out(code) for code in self.problems)

    def fit(self, max_tokens: int, overlap_tokens: int = 0) -> tuple[list[Piece], tuple[str, ...]]:
        """Return the examples of at most ``max_tokens`` tokens, and codes of what was done."""
        if self.encoded is None or self.is_left_out:
            return [], ()
        if self.is_text:
            pieces = divide_text(self.encoded, max_tokens, overlap_tokens)
            return pieces, ("text_divided",) if len(pieces) > 1 else ()
        piece = fit_conversation(self.encoded, max_tokens)
        if piece is None:
            return [], ("answer_too_long",)
        return [piece], ("truncated_prompt",) if piece.truncated_tokens else ()


class RowEncoder:
    """Writes records with the template and tokenises them with the model's tokenizer."""

    def __init__(
        self,
        settings: DataSettings,
        tokenizer: Any,
        base_folder: Path,
        stop_ids: Collection[int] = (),
    ) -> None:
        """Prepare for one recipe.

        Args:
            settings: The data part of the recipe.
            tokenizer: The base model's fast tokenizer.
            base_folder: Where the path of a template file starts.
            stop_ids: Tokens that end generation besides the end-of-sequence token, as the model's
                generation settings list them.

        Raises:
            FileUnusable: The template file is missing or broken.
            ModelUnusable: The tokenizer has no fast version.
        """
        stops = tuple(tokenizer.convert_ids_to_tokens(number) for number in stop_ids)
        self.template: Template = build_template(settings.template, tokenizer, base_folder, stops)
        self.encoder = Encoder(tokenizer, settings.supervise)
        self._settings = settings
        self._turns = chosen_turns(settings.supervise_turns)
        self._keeps_open_end = settings.supervise == "everything"
        self._eos = tokenizer.eos_token or ""
        self._eos_id: int | None = tokenizer.eos_token_id
        self._vocabulary = len(tokenizer)
        self.pads_with_end = self._eos_id is not None and tokenizer.pad_token_id == self._eos_id
        added = tokenizer.added_tokens_decoder.items()
        self.ending_ids = frozenset(number for number, token in added if token.special) | {
            *stop_ids,
            *([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]),
        }
        marks = {token.content for _, token in added if token.special} | {*stops, self._eos}
        self._checks = ContentChecks(marks, {self._eos, tokenizer.bos_token or ""})

    @property
    def disproved(self) -> tuple[str, ...]:
        """What turned out to differ from the long way: ``template``, ``tokens``.

        Rows made before it was seen have to be made again.
        """
        flags = {"template": self.template.is_disproved, "tokens": self.encoder.is_disproved}
        return tuple(name for name, is_wrong in flags.items() if is_wrong)

    def iter_encoded(self, records: Iterable[tuple[Row, Record]]) -> Iterator[list[EncodedRow]]:
        """Yield the rows in tokens, in batches and in order."""
        for batch in _iter_batches(records):
            with self.template.watched():
                written = [self._write(record) for _, record in batch]
            texts = [text for text, _, _ in written if text is not None]
            encodings = iter(self.encoder.encode(texts))
            yield [
                self._finish(row, record, text, None if text is None else next(encodings), notes)
                for (row, record), (text, *notes) in zip(batch, written, strict=True)
            ]

    def settle(self, record: Conversation) -> Conversation:
        """Return the conversation as it is written: thoughts dropped if wished, open end cut.

        It must have an answer.
        """
        if self._settings.think == "drop" and has_thoughts(record):
            record = drop_thoughts(record)
        last = record.answer_positions()[-1]
        if last < len(record.turns) - 1 and not self._keeps_open_end:
            record = Conversation(record.turns[: last + 1], record.tools)
        return record

    def has_answer(self, record: Conversation) -> bool:
        """Return whether there is anything to learn, as far as can be told without writing it."""
        return bool(record.answer_positions()) and not _is_answer_empty(self.settle(record))

    def _write(self, record: Record) -> tuple[TextToEncode | None, tuple[str, ...], str]:
        if isinstance(record, TokenRow):
            return None, (), ""
        if isinstance(record, RunningText):
            return self._write_text(record)
        if not record.answer_positions():
            return None, ("no_supervised_tokens",), ""
        turns = len(record.turns)
        record = self.settle(record)
        is_cut = len(record.turns) < turns
        problems: tuple[str, ...] = ("trailing_turns_ignored",) if is_cut else ()
        if _is_answer_empty(record):
            return None, ("empty_answer",), ""
        contents = [turn.content for turn in record.turns if turn.content]
        problems += self._checks.check(contents, is_text=False)
        try:
            rendered = self.template.render(record)
            trained, lost = self._choose(record, rendered)
        except TemplateRefused as error:
            return None, (*problems, "template_refused"), str(error)
        text = TextToEncode(rendered.text, rendered.answers, rendered.head_characters, trained)
        return text, (*problems, *rendered.problems, *lost), ""

    def _choose(
        self, record: Conversation, rendered: Rendered
    ) -> tuple[tuple[Span, ...] | None, tuple[str, ...]]:
        """Return what is learnt where that is not simply all answers, and codes of problems."""
        settings = self._settings
        if settings.supervise == "everything":
            return None, ()
        taught = [turn.is_trained for turn in record.turns if turn.role == "assistant"]
        if self._turns is not None:
            taught = [
                one and bool({place + 1, place - len(taught)} & self._turns)
                for place, one in enumerate(taught)
            ]
        lost = [False] * len(taught)
        if has_thoughts(record):
            lost = find_lost(record, rendered.text, rendered.answers)
        problems = ("thoughts_left_out",) if any(lost) else ()
        if settings.think == "keep":
            taught = [one and not is_lost for one, is_lost in zip(taught, lost, strict=True)]
        others: tuple[Span, ...] = ()
        if settings.supervise_roles:
            others = self.template.turn_spans(record, rendered.text, settings.supervise_roles)
        if all(taught) and not others:
            return None, problems
        chosen = [span for span, one in zip(rendered.answers, taught, strict=True) if one]
        if settings.supervise == "last_response":
            chosen = chosen[-1:] if taught[-1] else []
        return tuple(sorted((*chosen, *others))), problems

    def _write_text(self, record: RunningText) -> tuple[TextToEncode | None, tuple[str, ...], str]:
        text = record.text
        if not text.strip() and not record.ends:
            return None, ("no_supervised_tokens",), ""
        found = self._checks.check([text], is_text=True)
        is_ended = not record.ends or (self._eos and text.endswith(self._eos))
        return TextToEncode(text if is_ended else text + self._eos, ()), found, ""

    def _finish(
        self,
        row: Row,
        record: Record,
        text: TextToEncode | None,
        encoded: Encoded | None,
        notes: Sequence[Any],
    ) -> EncodedRow:
        problems: tuple[str, ...] = notes[0]
        characters = 0 if text is None else len(text.text)
        is_text = isinstance(record, RunningText)
        if isinstance(record, TokenRow):
            encoded, is_text = encode_token_row(record), all(record.supervised)
            problems = self._check_token_row(encoded)
        if encoded is not None:
            problems = (*problems, *encoded.problems)
            if not any(behind > max(first, 1) for first, behind in encoded.trained):
                problems = (*problems, "no_supervised_tokens")
            elif isinstance(record, Conversation) and not self._ends_supervised(encoded):
                problems = (*problems, "end_of_turn_unsupervised")
        places = _name_places(record, problems)
        if not isinstance(record, TokenRow) and record.filled:
            problems = (*problems, "places_filled")
        codes = tuple(dict.fromkeys(problems))
        digest = digest_row(record)
        return EncodedRow(row, encoded, digest, is_text, characters, codes, notes[1], places)

    def _check_token_row(self, encoded: Encoded) -> tuple[str, ...]:
        """Return what is wrong with token numbers that somebody else prepared."""
        if int(encoded.ids.max()) >= self._vocabulary:
            return ("unknown_tokens",)
        ends = [behind for _, behind in encoded.answers if behind < len(encoded.ids)]
        is_cut_off = any(
            int(encoded.ids[behind]) == self._eos_id
            and int(encoded.ids[behind - 1]) not in self.ending_ids
            for behind in ends
        )
        return ("end_masked",) if is_cut_off else ()

    def _ends_supervised(self, encoded: Encoded) -> bool:
        """Return whether the last learnt answer has an end mark that is learnt too."""
        for start, end in reversed(encoded.answers):
            if any(first <= start < behind for first, behind in encoded.trained):
                is_trained = any(first < end <= behind for first, behind in encoded.trained)
                return is_trained and int(encoded.ids[end - 1]) in self.ending_ids
        return bool(encoded.trained)  # only what others say is learnt


def chosen_turns(text: str) -> frozenset[int] | None:
    """Return the numbers of the answers to learn, from 1 or back from -1; None means all."""
    if text.strip() == "all":
        return None
    return frozenset(int(number) for number in text.split(","))


def _name_places(record: Record, problems: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the names of places that are open, with words around them, and of those filled."""
    filled = () if isinstance(record, TokenRow) else tuple((name, "") for name in record.filled)
    if "unfilled_places" not in problems:
        return filled
    texts = list_texts(record)
    return (*((name, quote_place(texts, name)) for name in find_places(texts)), *filled)


def _is_answer_empty(record: Conversation) -> bool:
    answer = record.turns[record.answer_positions()[-1]]
    return not (answer.content or "").strip() and not answer.extra.get("tool_calls")


def _iter_batches(
    records: Iterable[tuple[Row, Record]],
) -> Iterator[list[tuple[Row, Record]]]:
    """Yield batches of bounded size, in rows and in what they hold."""
    batch: list[tuple[Row, Record]] = []
    size = 0
    for row, record in records:
        batch.append((row, record))
        size += _size(record)
        if len(batch) == BATCH_ROWS or size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _size(record: Record) -> int:
    if isinstance(record, RunningText):
        return len(record.text)
    if isinstance(record, TokenRow):
        return len(record.ids)
    return sum(len(turn.content or "") for turn in record.turns)
