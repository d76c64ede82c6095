"""Everything a list or a page shows about one run, as one frozen value."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from studio.core.events.types import (
    DataPrepared,
    ModelLoaded,
    NoticeRaised,
    Phase,
    SampleAnswered,
    SettingResolved,
)
from studio.core.runs.incidents import Incident

Status = Literal[
    "queued",
    "starting",
    "running",
    "paused",
    "finished",
    "stopped",
    "failed",
    "interrupted",
]
IMPORTED = "import_run"
"""The kind of a run that was trained elsewhere."""
ACTIVE: frozenset[Status] = frozenset({"starting", "running", "paused"})
"""What the journal says of a run whose process lives; a dead process makes it interrupted."""


class RunFailure(BaseModel):
    """Why a run ended badly, in words for people."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    code: str
    message: str
    remedy: str = ""


class RunRecord(BaseModel):
    """The state of a run after the events folded so far; ``fold`` makes the next one.

    Points in time are Unix times in seconds, lengths of time are seconds, losses are nats per
    supervised token. None means: not known (yet).
    """

    model_config = ConfigDict(
        frozen=True, extra="ignore", protected_namespaces=(), ser_json_inf_nan="constants"
    )

    id: str = ""
    name: str = ""
    folder: Path = Path()
    kind: str = "train"
    status: Status = "queued"
    phase: Phase | None = None
    phase_detail: str = ""
    queued_behind: str | None = None
    attempt: int = 0
    process_id: int | None = None
    failure: RunFailure | None = None
    finish_reason: Literal["completed", "early_stopped"] | None = None

    created_seconds: float = 0.0
    started_seconds: float | None = None
    updated_seconds: float | None = None
    finished_seconds: float | None = None
    trained_seconds: float = 0.0
    eta_seconds: float | None = None

    step: int = 0
    first_step: int = 0
    total_steps: int | None = None
    steps_per_epoch: int | None = None
    epoch: float = 0.0
    first_loss: float | None = None
    last_loss: float | None = None
    learning_rate: float | None = None
    gradient_norm: float | None = None
    validation_loss: float | None = None
    best_validation_loss: float | None = None
    best_step: int | None = None

    trained_tokens: int = 0
    tokens_per_second: float | None = None
    seconds_per_step: float | None = None
    measured_steps: int = 0

    device: str | None = None
    used_memory_bytes: int | None = None
    peak_memory_bytes: int | None = None
    total_memory_bytes: int | None = None

    last_checkpoint_step: int | None = None
    last_checkpoint_folder: str | None = None
    best_checkpoint_folder: str | None = None
    adapter_folder: str | None = None
    adapter_step: int | None = None

    data: DataPrepared | None = None
    model: ModelLoaded | None = None
    settings: tuple[SettingResolved, ...] = ()
    notices: tuple[NoticeRaised, ...] = ()
    incidents: tuple[Incident, ...] = ()
    samples: tuple[SampleAnswered, ...] = ()
    versions: dict[str, str] = {}

    @property
    def is_active(self) -> bool:
        """Whether a living process should be working on the run."""
        return self.status in ACTIVE

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens unless somebody starts the run again."""
        return self.status in {"finished", "stopped", "failed", "interrupted"}

    @property
    def is_imported(self) -> bool:
        """Whether the run was trained elsewhere and brought here, or is an adapter without one."""
        return self.kind == IMPORTED

    @property
    def is_resumable(self) -> bool:
        """Whether Resume can do anything: a training run that ended before its plan was done."""
        return self.kind == "train" and self.status in {"stopped", "failed", "interrupted"}

    @property
    def parameters(self) -> int | None:
        """Number of parameters of the base model."""
        return None if self.model is None else self.model.parameters

    @property
    def trainable_parameters(self) -> int | None:
        """Number of parameters that are trained."""
        return None if self.model is None else self.model.trainable_parameters

    @property
    def done_fraction(self) -> float | None:
        """Share of the planned steps that is done, 0 to 1."""
        if not self.total_steps:
            return None
        return min(1.0, self.step / self.total_steps)
