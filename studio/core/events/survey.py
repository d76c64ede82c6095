"""Facts from a look through all data of a recipe: what each file is, what rows hold, any row."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from studio.core.events.base import Event

FileSide = Literal["train", "validation"]
Certainty = Literal["stated", "sure", "likely", "unsure", "unreadable"]


class Part(BaseModel):
    """A part of an event; frozen."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class FoundColumn(Part):
    """A column of a file, what it holds in words, and the beginning of its first value."""

    name: str
    kind: str
    example: str = ""


class LayoutOption(Part):
    """One way to read a file: a format and which column plays which part, and what it is for.

    ``documents`` is given where a text file is to be divided otherwise.
    """

    format: str
    columns: dict[str, str]
    words: str = ""
    documents: str = ""


class SourceExamined(Event):
    """The first rows of a source were looked at.

    ``position`` is its number in the recipe, ``side`` the list it stands in. ``message`` and
    ``remedy`` are told when no rows can be used yet; ``options`` are ways to read them; ``seems``
    names the kind of file where it has to be asked about.
    """

    request: int
    position: int
    side: FileSide = "train"
    source: str
    format: str = ""
    columns: dict[str, str] = Field(default_factory=dict)
    certainty: Certainty
    why: str = ""
    found_columns: tuple[FoundColumn, ...] = ()
    options: tuple[LayoutOption, ...] = ()
    seems: str = ""
    message: str = ""
    remedy: str = ""


class RowBand(Part):
    """Tokens from ``first`` up to ``behind`` that one turn wrote.

    ``turn`` counts from 1. ``reason`` is why an answer is not learnt, empty where it is.
    """

    first: int
    behind: int
    role: Literal["system", "user", "assistant", "tool", "text"]
    turn: int
    reason: Literal["", "cut", "not_last", "not_chosen", "marked", "thoughts", "left_out"] = ""


class RowShown(Event):
    """One row with every token of it, those that are cut away included.

    ``fates`` has one letter per token: ``l`` learnt, ``r`` only read, ``x`` cut away. ``special``
    are the positions of control tokens. ``hidden_tokens`` are not sent; they stand before token
    ``hidden_at``. ``rank`` is the row's place among ``count`` rows of the wanted list, both 0
    when the list is empty; ``side`` is whether the list holds rows to learn from or to measure on,
    ``files`` the list of the recipe in which its file stands, ``index`` counts the rows of the file
    that can be read, from 0. ``mark`` tells the row by what it says. ``written`` is the row as the
    file holds it, shortened.
    """

    request: int
    rank: int
    count: int
    source: int
    row: int
    place: str
    ids: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()
    fates: str = ""
    special: tuple[int, ...] = ()
    bands: tuple[RowBand, ...] = ()
    hidden_at: int = 0
    hidden_tokens: int = 0
    pieces: int = 1
    problems: tuple[str, ...] = ()
    detail: str = ""
    is_left_out: bool = False
    is_held_back: bool = False
    mark: str = ""
    written: str = ""
    side: FileSide = "train"
    files: FileSide = "train"
    index: int = 0


class TemplateTried(Event):
    """A template was tried on a row: the row as it writes it, or what is wrong with it."""

    request: int
    row: RowShown | None = None
    message: str = ""
    line: int = 0


class RowOpened(Event):
    """One row was handed out to be corrected: its fields as the text of a JSON object."""

    request: int
    files: FileSide
    source: int
    index: int
    place: str
    format: str
    columns: dict[str, str]
    values: str


class RowTried(Event):
    """Other fields were tried for a row: what becomes of it, or what is wrong with them."""

    request: int
    row: RowShown | None = None
    message: str = ""


class CopyProgressed(Event):
    """So many rows of a corrected copy are written."""

    request: int
    rows: int


class CopySaved(Event):
    """A corrected copy was written; ``skipped_rows`` cannot be read and are not in it."""

    request: int
    path: str
    rows: int
    changed_rows: int
    skipped_rows: int = 0


class SurveyProgressed(Event):
    """So many rows are read."""

    request: int
    rows: int


class LimitsMeasured(Event):
    """What each possible limit on the length would cost; the tuples have equal lengths.

    The fractions are of all rows, of the rows, of the supervised tokens and of all tokens: rows
    cut, rows lost because their answer is too long, supervised tokens lost, tokens kept. Bin ``i``
    of the histogram holds ``rows[i]`` rows of ``edges[i]`` to ``edges[i + 1] - 1`` tokens;
    ``hidden_rows`` are longer than the last edge. ``counted_rows`` have ``counted_tokens`` before
    anything is cut, of which ``supervised_fraction`` are learnt.
    """

    request: int
    limits: tuple[int, ...]
    cut_rows_fraction: tuple[float, ...]
    lost_rows_fraction: tuple[float, ...]
    lost_supervised_fraction: tuple[float, ...]
    kept_tokens_fraction: tuple[float, ...]
    edges: tuple[int, ...]
    rows: tuple[int, ...]
    hidden_rows: int = 0
    max_tokens: int
    auto_tokens: int
    longest_tokens: int
    context_tokens: int | None = None
    counted_rows: int = 0
    counted_tokens: int = 0
    supervised_fraction: float = 1.0


class OpenPlace(Part):
    """A place such as ``{{name}}`` in rows of one file, open or filled.

    ``files`` and ``source`` tell the file, ``rows`` how many of its rows have the place, ``quote``
    a few words around it.
    """

    name: str
    files: FileSide
    source: int
    rows: int
    quote: str = ""


class DataSurveyed(Event):
    """All rows were looked at, or only the first of each file while ``is_sample``.

    ``findings`` counts the rows to learn from per code of a check, ``validation_findings`` those to
    measure on; codes that are not about rows are missing. ``places`` are to be filled, or were.
    """

    request: int
    is_sample: bool
    rows: int
    train_rows: int
    validation_rows: int
    left_out_rows: int
    tokens: int
    supervised_tokens: int
    template: str
    template_source: str = ""
    is_own_template: bool = False
    findings: dict[str, int] = Field(default_factory=dict)
    validation_findings: dict[str, int] = Field(default_factory=dict)
    places: tuple[OpenPlace, ...] = ()
