"""The order and request of the job that reads single rows of a run's data again."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from studio.core.jobs.order import Order


class RowPlace(BaseModel):
    """One row of a run's data: see ``studio.core.microscope.files.RowOrigin``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    document: int
    source: int
    index: int
    number: int
    line: int = 0
    mark: str = ""


class ReadRowsOrder(Order):
    """Read rows of the data of the run in ``run`` as they are written; needs no model.

    ``rows`` are read at once; where ``stays``, more can be asked for until told to end.
    """

    kind: Literal["read_rows"] = "read_rows"
    run: str
    rows: tuple[RowPlace, ...] = ()
    stays: bool = False
