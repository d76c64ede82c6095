"""Facts about data: rows as the model sees them, problems, lengths and findings."""

from __future__ import annotations

from pydantic import Field

from studio.core.events.base import Event


class RowPreviewed(Event):
    """One row as the model sees it; ``texts``, ``ids``, ``supervised`` have equal lengths.

    ``special`` marks control tokens. ``cut_texts`` are tokens that were cut away; they stood
    before the token ``cut_at``. ``problems`` are codes of DataProblemFound.
    """

    row: int
    source: str
    ids: tuple[int, ...]
    texts: tuple[str, ...]
    supervised: tuple[bool, ...]
    truncated_tokens: int = 0
    special: tuple[bool, ...] = ()
    cut_at: int = 0
    cut_texts: tuple[str, ...] = ()
    is_left_out: bool = False
    problems: tuple[str, ...] = ()


class DataProblemFound(Event):
    """A kind of problem in the data and how many rows have it; ``places`` are the first few.

    ``source`` is the number of the training file concerned where it is about one file alone.
    ``is_listed`` says that its rows can be asked for. ``request`` is the look that found it.
    """

    code: str
    message: str
    remedy: str = ""
    rows: int = 0
    is_fatal: bool = False
    places: tuple[str, ...] = ()
    detail: str = ""
    source: int | None = None
    is_listed: bool = False
    request: int = 0


class DataSourceRead(Event):
    """A source was read: its format, which column plays which part, how many rows it has.

    ``skipped_rows`` could not be read and were left out as the user agreed.
    """

    source: str
    format: str
    columns: dict[str, str] = Field(default_factory=dict)
    rows: int = 0
    skipped_rows: int = 0


class RowsPeeked(Event):
    """The first rows of a data file as they are written, each the text of a JSON object.

    Long texts are shortened. ``row_count`` is None where more rows follow.
    """

    rows: tuple[str, ...]
    row_count: int | None = None
    size_bytes: int = 0


class LengthsMeasured(Event):
    """How long the rows are before cutting; a histogram for the page.

    Bin ``i`` holds ``rows[i]`` rows of ``edges[i]`` to ``edges[i + 1] - 1`` tokens, the last edge
    included. The shares are of all rows and of all tokens.
    """

    edges: tuple[int, ...]
    rows: tuple[int, ...]
    max_tokens: int
    cut_rows_fraction: float
    cut_tokens_fraction: float
