"""The curves of a run: growing columns of numbers that plots read without copying."""

from __future__ import annotations

from array import array
from base64 import b64decode, b64encode
from bisect import bisect_left
from collections.abc import Iterable
from typing import TypeAlias

from studio.core.events.types import (
    Event,
    MemoryMeasured,
    PlanMade,
    StateRestored,
    StepFinished,
    ValidationFinished,
)

Number: TypeAlias = int | float
_SMALLEST_CAPACITY = 256


class Column:
    """Numbers of one kind that grow at the end; ``typecode`` is ``q`` (int64) or ``d`` (float64).

    A view stays valid and unchanged however the column grows or shrinks later: growing and
    shrinking move the numbers to another buffer, and appending writes only behind the view.
    """

    def __init__(self, typecode: str = "d", values: Iterable[Number] = ()) -> None:
        self._typecode = typecode
        self._buffer: array[float] = array(typecode, values)
        self._count = len(self._buffer)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Number:
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return self._buffer[index if index >= 0 else index + self._count]

    @property
    def view(self) -> memoryview:
        """The numbers so far without a copy (``numpy.asarray(column.view)`` shares them too)."""
        return memoryview(self._buffer)[: self._count]

    def append(self, value: Number) -> None:
        """Adds one number at the end."""
        if self._count == len(self._buffer):
            room = max(_SMALLEST_CAPACITY, self._count)
            self._buffer = self._buffer + array(self._typecode, bytes(8 * room))
        self._buffer[self._count] = value
        self._count += 1

    def truncate(self, count: int) -> None:
        """Keeps the first ``count`` numbers only."""
        if count < self._count:
            self._buffer = self._buffer[:count]
            self._count = count

    def find_position(self, value: Number) -> int:
        """Returns how many numbers of an ascending column are less than ``value``."""
        return bisect_left(self._buffer, value, 0, self._count)

    def dump(self) -> str:
        """Returns the numbers as text, in the byte order of this machine."""
        return b64encode(self.view).decode()

    @classmethod
    def parse(cls, typecode: str, text: str) -> Column:
        """Returns the column that ``dump`` wrote.

        Raises:
            ValueError: The text is damaged.
        """
        values: array[float] = array(typecode)
        values.frombytes(b64decode(text, validate=True))
        column = cls(typecode)
        column._buffer, column._count = values, len(values)  # the buffer itself, not a copy
        return column


class Curve:
    """Columns of equal length over an ascending column of steps."""

    def __init__(self, *names: str) -> None:
        self.step = Column("q")
        self._columns = {name: Column("d") for name in names}

    def __len__(self) -> int:
        return len(self.step)

    def __getitem__(self, name: str) -> Column:
        return self._columns[name]

    def append(self, step: int, *values: Number) -> None:
        """Adds one point; points at this step or behind it give way, since they are done again."""
        if len(self.step) and self.step[-1] >= step:
            self.truncate(self.step.find_position(step))
        self.step.append(step)
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(value)

    def truncate(self, count: int) -> None:
        """Keeps the first ``count`` points only."""
        self.step.truncate(count)
        for column in self._columns.values():
            column.truncate(count)

    def truncate_behind(self, step: int) -> None:
        """Drops the points of later steps than ``step``."""
        self.truncate(self.step.find_position(step + 1))

    def dump(self) -> dict[str, str]:
        """Returns every column as text."""
        return {
            "step": self.step.dump(),
            **{name: column.dump() for name, column in self._columns.items()},
        }

    def load(self, texts: dict[str, str]) -> None:
        """Replaces the points by those that ``dump`` wrote.

        Raises:
            ValueError: A column is damaged or not as long as the others.
        """
        step = Column.parse("q", texts["step"])
        columns = {name: Column.parse("d", texts[name]) for name in self._columns}
        if any(len(column) != len(step) for column in columns.values()):
            raise ValueError("the columns of a saved curve have different lengths")
        self.step, self._columns = step, columns


class RunSeries:
    """All curves of one run; ``add`` takes every event and keeps what belongs on a plot.

    A run that goes on from a checkpoint repeats steps: the points behind the checkpoint are
    dropped, so that every curve stays a function of the step.
    """

    def __init__(self) -> None:
        self.training = Curve(
            "loss", "learning_rate", "gradient_norm", "tokens_per_second", "epoch", "seconds"
        )
        self.validation = Curve("loss")
        self.memory = Curve("used_bytes", "peak_bytes")

    def add(self, event: Event) -> None:
        """Adds the point of one event, if it has one."""
        if isinstance(event, StepFinished):
            rate = event.tokens / event.seconds if event.seconds > 0 else 0.0
            self.training.append(
                event.step,
                event.loss,
                event.learning_rate,
                event.gradient_norm,
                rate,
                event.epoch,
                event.seconds,
            )
        elif isinstance(event, MemoryMeasured):
            self.memory.append(event.step, event.used_bytes, event.peak_bytes)
        elif isinstance(event, ValidationFinished):
            self.validation.append(event.step, event.loss)
        elif isinstance(event, PlanMade):
            self._truncate_behind(event.first_step)
        elif isinstance(event, StateRestored):
            self._truncate_behind(event.step)

    def _truncate_behind(self, step: int) -> None:
        for curve in (self.training, self.validation, self.memory):
            curve.truncate_behind(step)

    def dump(self) -> dict[str, dict[str, str]]:
        """Returns all curves as text for a snapshot."""
        return {
            "training": self.training.dump(),
            "validation": self.validation.dump(),
            "memory": self.memory.dump(),
        }

    @classmethod
    def parse(cls, curves: dict[str, dict[str, str]]) -> RunSeries:
        """Returns the series that ``dump`` wrote.

        Raises:
            ValueError: A curve is damaged.
            KeyError: A curve is missing.
        """
        series = cls()
        for name, curve in vars(series).items():
            curve.load(curves[name])
        return series
