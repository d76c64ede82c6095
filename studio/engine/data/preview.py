"""A few rows exactly as the model will see them, without reading the whole file."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.columns import SAMPLE_ROWS
from studio.engine.data.prepare import SourceFinding, choose_max_tokens
from studio.engine.data.problems import DataProblem, ProblemLog
from studio.engine.data.read import open_source
from studio.engine.data.rows import EncodedRow, RowEncoder


@dataclass(frozen=True)
class PreviewRow:
    """One example token by token; ``ids``, ``texts`` and ``supervised`` have equal lengths.

    ``texts`` joined give the text of the example; a token that is only a part of a character has
    an empty text, the last part has the whole character. ``problems`` are codes.
    """

    source: str
    row: int
    ids: tuple[int, ...]
    texts: tuple[str, ...]
    supervised: tuple[bool, ...]
    truncated_tokens: int
    is_left_out: bool
    problems: tuple[str, ...]
    special: tuple[bool, ...] = ()
    cut_at: int = 0
    cut_texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preview:
    """The first rows of a recipe's data, and what was noticed in a sample of it.

    ``lengths`` are the tokens of the sampled rows before cutting; ``max_tokens`` is the limit that
    this sample gives.
    """

    rows: tuple[PreviewRow, ...]
    lengths: tuple[int, ...]
    problems: tuple[DataProblem, ...]
    findings: tuple[SourceFinding, ...]
    max_tokens: int


def preview(
    settings: DataSettings,
    tokenizer: Any,
    model_context: int | None,
    *,
    base_folder: Path,
    rows: int,
    stop_ids: Collection[int] = (),
) -> Preview:
    """Return the first ``rows`` rows, shared out evenly between the files of the recipe.

    Problems that would refuse a run are reported, not raised, so that they can be looked at.

    Raises:
        FileUnusable: A file is missing or may not be read.
        DatasetInvalid: A row is broken or the format is unknown.
    """
    encoder = RowEncoder(settings, tokenizer, base_folder, stop_ids)
    share = -(-rows // max(1, len(settings.active_train)))
    sampled: list[tuple[EncodedRow, str, bool]] = []
    findings = []
    all_skipped = []
    for source in settings.active_train:
        opened = open_source(source, base_folder, max(share, SAMPLE_ROWS))
        found = [one for batch in encoder.iter_encoded(opened.iter_records()) for one in batch]
        sampled.extend((one, source.source, index < share) for index, one in enumerate(found))
        all_skipped.append(opened.skipped)
        columns = dict(opened.layout.columns)
        findings.append(SourceFinding(opened.path, opened.layout.format.key, columns, len(found)))
    lengths = [len(one.encoded.ids) for one, _, _ in sampled if one.encoded]
    max_tokens = choose_max_tokens(
        settings.max_tokens, np.array(lengths, dtype=np.int64), model_context
    )
    log = ProblemLog()
    if encoder.pads_with_end:
        log.add("pad_is_end")
    for skipped in all_skipped:
        log.add_counted("broken_rows", skipped.count, skipped.faults)
    for one, _, _ in sampled:
        for code in (*one.problems, *one.fit(max_tokens, settings.overlap_tokens)[1]):
            log.add(code, one.row.place, one.detail)
    shown = ((one, name) for one, name, is_shown in sampled if is_shown)
    return Preview(
        rows=tuple(
            _preview_row(one, name, max_tokens, tokenizer) for one, name in islice(shown, rows)
        ),
        lengths=tuple(lengths),
        problems=log.problems(),
        findings=tuple(findings),
        max_tokens=max_tokens,
    )


def _preview_row(one: EncodedRow, source: str, max_tokens: int, tokenizer: Any) -> PreviewRow:
    pieces, codes = one.fit(max_tokens)
    if pieces and one.encoded is not None:
        taken = pieces[0].take(one.encoded)
        ids, supervised = taken[0].tolist(), taken[1].tolist()
        truncated = pieces[0].truncated_tokens
    else:
        ids = one.encoded.ids.tolist() if one.encoded else []
        supervised, truncated = [False] * len(ids), 0
    cut_at = 0
    cut_texts: tuple[str, ...] = ()
    if pieces and one.encoded is not None and pieces[0].truncated_tokens:
        cut_at, behind = pieces[0].cut
        cut_texts = tuple(token_texts(tokenizer, one.encoded.ids[cut_at:behind].tolist()))
    marks = set(tokenizer.all_special_ids) | {
        number for number, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    return PreviewRow(
        source=source,
        row=one.row.number,
        ids=tuple(ids),
        texts=tuple(token_texts(tokenizer, ids)),
        supervised=tuple(supervised),
        truncated_tokens=truncated,
        is_left_out=not pieces,
        problems=(*one.problems, *codes),
        special=tuple(number in marks for number in ids),
        cut_at=cut_at,
        cut_texts=cut_texts,
    )


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Return the text that each token adds to the tokens before it."""
    texts: list[str] = []
    start, done = 0, 0
    for index in range(len(ids)):
        known = _decode(tokenizer, ids[start:done])
        text = _decode(tokenizer, ids[start : index + 1])
        is_part = text.endswith("\ufffd") and index < len(ids) - 1 and index - done < 8
        if is_part or not text.startswith(known):
            texts.append("")
            if is_part:
                continue
        else:
            texts.append(text[len(known) :])
        start, done = done, index + 1
    return texts


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    text: str = tokenizer.decode(
        list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return text
