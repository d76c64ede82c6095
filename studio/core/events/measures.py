"""The facts of jobs that measure and mix adapters: evaluate, forgetting and blend."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from studio.core.events.base import Event


class ColumnScore(BaseModel):
    """One metric of one column over all rows, with its 95 % interval from ``low`` to ``high``.

    The differences are those from the first column on the same rows, None in the first itself.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="constants")
    column: str
    metric: str
    label: str
    is_higher_better: bool
    rows: int
    value: float
    low: float
    high: float
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p_value: float | None = None
    is_significant: bool | None = None


class EvaluationProgressed(Event):
    """Part of the rows is measured."""

    part: Literal["loss", "answers"]
    done_rows: int
    total_rows: int


class RowEvaluated(Event):
    """One row was measured in all columns; ``scores`` are by column and metric."""

    row: int
    prompt: str
    expected: str
    answers: dict[str, str]
    scores: dict[str, dict[str, float]]


class EvaluationFinished(Event):
    """Everything is measured."""

    columns: tuple[str, ...]
    rows: int
    scores: tuple[ColumnScore, ...]


class ProbeAnswered(Event):
    """One prompt that must still work was answered in all columns; the first is the base.

    ``right`` says by column whether the answer is right; ``divergences`` how far the column's
    words are from the base's on the base's own answer, in nats per token.
    """

    area: str
    prompt: str
    expected: str
    answers: dict[str, str]
    right: dict[str, bool]
    divergences: dict[str, float]
    done_probes: int
    total_probes: int


class BlendProgressed(Event):
    """Part of the layers is mixed."""

    done_modules: int
    total_modules: int


class BlendMeasured(Event):
    """A mix of this rank answers without being saved; ``errors`` says by rank what is lost.

    Each is the size of what that rank cannot hold, relative to the whole update.
    """

    request: int
    column: str
    rank: int
    errors: dict[int, float]


class BlendFinished(Event):
    """Several adapters were mixed into the one in ``folder``.

    ``run`` is its folder in the history, empty if it did not join it. ``error_fraction`` is the
    size of what the rank could not hold, relative to the whole update.
    """

    folder: str
    rank: int
    modules: int
    error_fraction: float
    run: str = ""


class ModuleLook(BaseModel):
    """What one layer's update looks like: its size, and how many directions it really uses.

    ``norm`` and ``base_norm`` are Frobenius norms of the update and of the base's own weight;
    the latter is None where the base was not read. ``effective_rank`` and ``stable_rank`` are
    between 1 and ``rank``, 0 for an update of zeros.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    name: str
    rank: int
    norm: float
    effective_rank: float
    stable_rank: float = 0.0
    base_norm: float | None = None

    @property
    def relative_norm(self) -> float | None:
        """The size of the update as a share of the weight it changes, None if that is unknown."""
        return self.norm / self.base_norm if self.base_norm else None


class InsideProgressed(Event):
    """Part of the layers of all adapters is measured."""

    done_modules: int
    total_modules: int


class AdapterMeasured(Event):
    """Every update of one adapter was measured."""

    adapter: str
    modules: tuple[ModuleLook, ...]


class LayerSimilarity(BaseModel):
    """The cosine between two adapters' updates of one layer; None is outside numbered layers."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    layer: int | None
    cosine: float


class SimilarityMeasured(Event):
    """Two adapters were compared: the cosine between their updates, -1 to 1."""

    adapter: str
    other: str
    cosine: float
    layers: tuple[LayerSimilarity, ...] = ()
