"""The facts a job can state: frozen, past tense, with units in their names."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from studio.core.events.base import Event as Event
from studio.core.events.data import DataProblemFound as DataProblemFound
from studio.core.events.data import DataSourceRead as DataSourceRead
from studio.core.events.data import LengthsMeasured as LengthsMeasured
from studio.core.events.data import RowPreviewed as RowPreviewed
from studio.core.events.data import RowsPeeked as RowsPeeked
from studio.core.events.exports import ExportChecked as ExportChecked
from studio.core.events.exports import ExportFinding as ExportFinding
from studio.core.events.exports import ExportFinished as ExportFinished
from studio.core.events.exports import ExportProgressed as ExportProgressed
from studio.core.events.exports import HandedOver as HandedOver
from studio.core.events.exports import ImportFinished as ImportFinished
from studio.core.events.exports import ModelGrown as ModelGrown
from studio.core.events.exports import PruneFinished as PruneFinished
from studio.core.events.exports import PushFinished as PushFinished
from studio.core.events.exports import RunImported as RunImported
from studio.core.events.guards import CardCooled as CardCooled
from studio.core.events.guards import CardThrottled as CardThrottled
from studio.core.events.guards import CheckpointSkipped as CheckpointSkipped
from studio.core.events.guards import DiskNearlyFull as DiskNearlyFull
from studio.core.events.guards import LearningRateLowered as LearningRateLowered
from studio.core.events.guards import MemoryCleared as MemoryCleared
from studio.core.events.guards import MicroBatchShrunk as MicroBatchShrunk
from studio.core.events.guards import RecomputingExtended as RecomputingExtended
from studio.core.events.guards import SharedMemoryUsed as SharedMemoryUsed
from studio.core.events.guards import StateRestored as StateRestored
from studio.core.events.guards import StepRefused as StepRefused
from studio.core.events.hub import DownloadFinished as DownloadFinished
from studio.core.events.hub import DownloadProgressed as DownloadProgressed
from studio.core.events.measures import AdapterMeasured as AdapterMeasured
from studio.core.events.measures import BlendFinished as BlendFinished
from studio.core.events.measures import BlendMeasured as BlendMeasured
from studio.core.events.measures import BlendProgressed as BlendProgressed
from studio.core.events.measures import ColumnScore as ColumnScore
from studio.core.events.measures import EvaluationFinished as EvaluationFinished
from studio.core.events.measures import EvaluationProgressed as EvaluationProgressed
from studio.core.events.measures import InsideProgressed as InsideProgressed
from studio.core.events.measures import LayerSimilarity as LayerSimilarity
from studio.core.events.measures import ModuleLook as ModuleLook
from studio.core.events.measures import ProbeAnswered as ProbeAnswered
from studio.core.events.measures import RowEvaluated as RowEvaluated
from studio.core.events.measures import SimilarityMeasured as SimilarityMeasured
from studio.core.events.row_texts import RowRead as RowRead
from studio.core.events.survey import CopyProgressed as CopyProgressed
from studio.core.events.survey import CopySaved as CopySaved
from studio.core.events.survey import DataSurveyed as DataSurveyed
from studio.core.events.survey import FoundColumn as FoundColumn
from studio.core.events.survey import LimitsMeasured as LimitsMeasured
from studio.core.events.survey import RowOpened as RowOpened
from studio.core.events.survey import RowShown as RowShown
from studio.core.events.survey import RowTried as RowTried
from studio.core.events.survey import SourceExamined as SourceExamined
from studio.core.events.survey import SurveyProgressed as SurveyProgressed
from studio.core.events.survey import TemplateTried as TemplateTried

Phase = Literal[
    "starting",
    "loading_data",
    "loading_model",
    "downloading",
    "training",
    "validating",
    "saving",
    "finishing",
]


# ------------------------------------------------------------------ life of a job


class JobStarted(Event):
    """A child process took over the run directory."""

    kind: str
    process_id: int
    attempt: int
    versions: dict[str, str] = Field(default_factory=dict)


class JobQueued(Event):
    """The job waits until another one gives the graphics card back; ``behind`` names that run."""

    behind: str


class PhaseEntered(Event):
    """The job began another part of its work."""

    phase: Phase
    detail: str = ""


class RunPaused(Event):
    """The job waits between two steps; weights stay in memory."""

    step: int


class RunResumed(Event):
    """A paused job went on."""

    step: int


class RunFinished(Event):
    """Everything that was planned is done and saved."""

    step: int
    reason: Literal["completed", "early_stopped"] = "completed"


class RunStopped(Event):
    """The user asked to stop; the state is saved and can be resumed."""

    step: int


class RunFailed(Event):
    """The job ended with an error; the last checkpoint can be resumed."""

    code: str
    message: str
    remedy: str = ""


class NoticeRaised(Event):
    """Something was chosen, changed or is worth knowing; shown on the run's page."""

    severity: Literal["note", "warning"] = "note"
    code: str
    message: str
    remedy: str = ""


# ------------------------------------------------------------------ preparation


class SettingResolved(Event):
    """A recipe value that was ``auto`` became a definite one."""

    key: str
    value: str
    why: str


class DataPrepared(Event):
    """The rows are read, rendered and tokenised.

    ``is_estimate``: the rows are read and counted, tokens and cut rows are judged by a sample; the
    rest is tokenised while training runs, and then the exact numbers follow.
    """

    train_rows: int
    validation_rows: int
    train_tokens: int
    supervised_tokens: int
    max_tokens: int
    truncated_rows: int = 0
    skipped_rows: int = 0
    is_estimate: bool = False


class ModelLoaded(Event):
    """The base model is in memory and the adapter sits on it."""

    architecture: str
    parameters: int
    trainable_parameters: int
    adapted_modules: int
    device: str
    dtype: str


class PlanMade(Event):
    """How many steps the run will take."""

    total_steps: int
    steps_per_epoch: int
    first_step: int = 0


# ------------------------------------------------------------------ training


class StepFinished(Event):
    """One optimizer step was done. ``loss`` is nats per supervised token, over the whole step."""

    step: int
    epoch: float
    loss: float
    learning_rate: float
    gradient_norm: float
    supervised_tokens: int
    tokens: int
    seconds: float


class MemoryMeasured(Event):
    """Memory in use; ``peak_bytes`` is the highest value so far in this process."""

    step: int
    device: str
    used_bytes: int
    peak_bytes: int
    total_bytes: int = 0


class ValidationFinished(Event):
    """The validation loss (nats per supervised token) was measured."""

    step: int
    loss: float
    supervised_tokens: int
    is_best: bool
    seconds: float


class CheckpointSaved(Event):
    """Everything needed to go on is safely on disk."""

    step: int
    folder: str
    is_best: bool = False
    bytes: int = 0


class CheckpointRemoved(Event):
    """An old checkpoint was deleted as the recipe says."""

    step: int
    folder: str


class SampleAnswered(Event):
    """A sample prompt was answered during the run; ``source`` is ``base`` or ``adapter``."""

    step: int
    prompt: str
    source: Literal["base", "adapter"]
    answer: str


class AdapterSaved(Event):
    """The adapter folder of the run was written (PEFT format)."""

    step: int
    folder: str
    is_best: bool = False


# ------------------------------------------------------------------ measure (plan)


class RowsCounted(Event):
    """The training rows are tokenised and cut.

    ``lengths`` in tokens fall from the longest down; of many rows they are an even selection.
    """

    lengths: tuple[int, ...]
    rows: int
    mean_tokens: float
    supervised_fraction: float


class DryRunMeasured(Event):
    """Training steps on the longest rows were done and thrown away.

    ``loaded_bytes`` was in use before the first step, ``peak_bytes`` at the highest point.
    ``documents`` are the lengths of the rows in the largest micro-batch; ``seconds`` is the time
    for ``tokens`` tokens. ``recomputing`` counts the layers that recompute nothing, their inner
    part, everything.
    """

    device: str
    loaded_bytes: int
    peak_bytes: int
    documents: tuple[int, ...]
    supervised_tokens: int
    tokens: int
    seconds: float
    dtype: str
    recomputing: tuple[int, int, int]
    micro_batch_tokens: int


# ------------------------------------------------------------------ chat (compare)


class ChatReady(Event):
    """The base model and the adapters are loaded; prompts can be sent."""

    columns: tuple[str, ...]


class AnswerStarted(Event):
    """The answers to one prompt begin."""

    request: int
    columns: tuple[str, ...]


class TokensGenerated(Event):
    """A piece of one answer; pieces of one column follow each other."""

    request: int
    column: str
    text: str


class AnswerFinished(Event):
    """One answer is complete."""

    request: int
    column: str
    text: str
    tokens: int
    seconds: float
    reason: Literal["end_of_turn", "length", "stop_text", "stopped", "failed"]


class ColumnsChanged(Event):
    """An adapter was loaded or unloaded; ``columns`` are those that can be asked now."""

    request: int
    columns: tuple[str, ...]


class RequestFailed(Event):
    """One request could not be served; the job itself goes on."""

    request: int
    code: str
    message: str
    remedy: str = ""
