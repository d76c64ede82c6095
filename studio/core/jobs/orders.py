"""What a child process is asked to do, written into its run directory before it starts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from studio.core.jobs.export_orders import CheckExportOrder as CheckExportOrder
from studio.core.jobs.export_orders import ExpertLayout as ExpertLayout
from studio.core.jobs.export_orders import ExportDrop as ExportDrop
from studio.core.jobs.export_orders import ExportOrder as ExportOrder
from studio.core.jobs.export_orders import ExportTarget as ExportTarget
from studio.core.jobs.export_orders import ExportTool as ExportTool
from studio.core.jobs.export_orders import HandOverOrder as HandOverOrder
from studio.core.jobs.export_orders import MergeBase as MergeBase
from studio.core.jobs.export_orders import PushOrder as PushOrder
from studio.core.jobs.export_orders import QuantKind as QuantKind
from studio.core.jobs.measure_orders import BlendOrder as BlendOrder
from studio.core.jobs.measure_orders import BlendPart as BlendPart
from studio.core.jobs.measure_orders import BlendSettings as BlendSettings
from studio.core.jobs.measure_orders import EvaluateOrder as EvaluateOrder
from studio.core.jobs.measure_orders import ForgettingOrder as ForgettingOrder
from studio.core.jobs.measure_orders import InsideOrder as InsideOrder
from studio.core.jobs.order import Order as Order
from studio.core.jobs.order import Request as Request
from studio.core.jobs.row_orders import ReadRowsOrder as ReadRowsOrder
from studio.core.jobs.row_orders import RowPlace as RowPlace
from studio.core.jobs.survey_requests import CancelCopy as CancelCopy
from studio.core.jobs.survey_requests import LookAt as LookAt
from studio.core.jobs.survey_requests import OpenRow as OpenRow
from studio.core.jobs.survey_requests import RowList as RowList
from studio.core.jobs.survey_requests import RowSide as RowSide
from studio.core.jobs.survey_requests import SaveCopy as SaveCopy
from studio.core.jobs.survey_requests import ShowRow as ShowRow
from studio.core.jobs.survey_requests import TryRow as TryRow
from studio.core.jobs.survey_requests import TryTemplate as TryTemplate
from studio.core.weights.quantisable import BaseForm


class TrainOrder(Order):
    """Train as the run's own ``recipe.yaml`` says; goes on from the last checkpoint if any.

    ``base_folder`` is where relative paths of the recipe start.
    """

    kind: Literal["train"] = "train"
    base_folder: str


class PreviewOrder(Order):
    """Show rows of the run's recipe as the model will see them."""

    kind: Literal["preview"] = "preview"
    base_folder: str
    rows: int = 20


class SurveyOrder(Order):
    """Look through data as one base model sees it, and show any row, until told to end.

    What to look at comes by request.
    """

    kind: Literal["survey"] = "survey"
    base: str
    revision: str | None = None
    base_folder: str


class PeekOrder(Order):
    """Read the first rows of a data file of any kind as they are written; no model is needed."""

    kind: Literal["peek"] = "peek"
    source: str
    revision: str | None = None
    split: str = "train"
    base_folder: str
    rows: int = Field(50, ge=1, le=1000)


class MeasureOrder(Order):
    """Do two training steps on the longest rows, to see how much memory and time they take."""

    kind: Literal["measure"] = "measure"
    base_folder: str


class ChatOrder(Order):
    """Keep a base model and adapters loaded and answer prompts from the control file.

    ``adapters`` maps the column name to an adapter folder (PEFT format); the column ``base`` is
    always there. ``quantisation`` auto holds the base as all adapters saw it in training, those in
    ``expected`` (folders) among them, which will join later.
    """

    kind: Literal["chat"] = "chat"
    base: str
    adapters: dict[str, str] = Field(default_factory=dict)
    expected: tuple[str, ...] = ()
    device: str = "auto"
    dtype: str = "auto"
    quantisation: BaseForm = "auto"


class ImportOrder(Order):
    """Bring an adapter folder or a capsule into the history of the home in ``home``.

    ``name`` is what the run will be called, ``base`` its base model where the adapter does not say
    it. The run directory keeps the order, filled in; ``base_folder`` is where relative paths of the
    run's recipe started, ``chosen_base`` the base that the user named later.
    """

    kind: Literal["import_run"] = "import_run"
    source: str
    home: str
    name: str | None = None
    base: str | None = None
    chosen_base: str | None = None
    base_folder: str | None = None


class PruneOrder(Order):
    """Write a copy of a model in which a share of the linear layers' weights is zero."""

    kind: Literal["prune"] = "prune"
    base: str
    pattern: Literal["magnitude", "two_four"] = "magnitude"
    sparsity: float = Field(0.5, gt=0, lt=1)
    out: str


class GrowOrder(Order):
    """Write a copy of a model whose tokenizer and tables have ``tokens`` as well."""

    kind: Literal["grow"] = "grow"
    base: str
    tokens: tuple[str, ...]
    out: str


class DownloadOrder(Order):
    """Fetch a model or data set of the hub; what an earlier attempt fetched is kept.

    ``repository`` None means: a model of that name, or else a data set. ``only`` is a folder or
    pattern of paths, for data sets that hold more than is wanted.
    """

    kind: Literal["download"] = "download"
    repository: Literal["model", "dataset"] | None = None
    name: str
    revision: str | None = None
    only: str = ""


AnyOrder = Annotated[
    TrainOrder
    | PreviewOrder
    | SurveyOrder
    | ReadRowsOrder
    | PeekOrder
    | MeasureOrder
    | ChatOrder
    | ExportOrder
    | CheckExportOrder
    | ImportOrder
    | PushOrder
    | HandOverOrder
    | EvaluateOrder
    | ForgettingOrder
    | BlendOrder
    | InsideOrder
    | PruneOrder
    | GrowOrder
    | DownloadOrder,
    Field(discriminator="kind"),
]
order_type: TypeAdapter[AnyOrder] = TypeAdapter(AnyOrder)


class Pause(Request):
    """Wait after the current step; keep everything in memory."""

    kind: Literal["pause"] = "pause"


class Resume(Request):
    """Go on after a pause."""

    kind: Literal["resume"] = "resume"


class Stop(Request):
    """Save a checkpoint and end; also ends a chat job."""

    kind: Literal["stop"] = "stop"


class SaveCheckpoint(Request):
    """Save a checkpoint after the current step and go on."""

    kind: Literal["checkpoint"] = "checkpoint"


class AnswerSamples(Request):
    """Answer the sample prompts after the current step."""

    kind: Literal["sample"] = "sample"


class Turn(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    role: Literal["system", "user", "assistant"]
    content: str


class ColumnWish(BaseModel):
    """What one column does otherwise than the others; None means: as they do.

    ``strength`` is multiplied with the adapter's update (0 is the base); ``turns`` is the
    conversation as it went in this column.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    strength: float = Field(1.0, ge=0, le=1.5)
    turns: tuple[Turn, ...] | None = None
    max_new_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0)
    seed: int | None = None


class Ask(Request):
    """Answer a conversation (or, if ``is_raw``, continue the one text as it is) in every column.

    ``temperature`` 0 is greedy; ``top_k`` 0 means no limit. A text in ``stop_texts`` ends the
    answer and is not part of it. ``per_column`` holds by name what a column does otherwise. The
    answer to column c is stated by events with this ``request``.
    """

    kind: Literal["ask"] = "ask"
    request: int
    turns: tuple[Turn, ...]
    columns: tuple[str, ...] = ()
    is_raw: bool = False
    max_new_tokens: int = Field(256, ge=1)
    temperature: float = Field(0.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int = 0
    top_k: int = Field(0, ge=0)
    min_p: float = Field(0.0, ge=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0)
    stop_texts: tuple[str, ...] = ()
    per_column: dict[str, ColumnWish] = Field(default_factory=dict)


class AddColumn(Request):
    """Load one more adapter beside the others; the base stays where it is."""

    kind: Literal["add_column"] = "add_column"
    request: int
    column: str
    adapter: str


class RemoveColumn(Request):
    """Unload one adapter; its answers are over."""

    kind: Literal["remove_column"] = "remove_column"
    request: int
    column: str


class SetBlend(Request):
    """Let a column answer as a mix of adapters, which is not saved; replaces what it was."""

    kind: Literal["set_blend"] = "set_blend"
    request: int
    column: str
    blend: BlendSettings


class CancelAsk(Request):
    """Stop answering one request; what was written stays."""

    kind: Literal["cancel_ask"] = "cancel_ask"
    request: int


class ReadRows(Request):
    """Read rows of the run's data; rows asked for before and not read yet are given up."""

    kind: Literal["read_rows"] = "read_rows"
    rows: tuple[RowPlace, ...]


AnyRequest = Annotated[
    Pause
    | Resume
    | Stop
    | SaveCheckpoint
    | AnswerSamples
    | Ask
    | AddColumn
    | RemoveColumn
    | SetBlend
    | CancelAsk
    | LookAt
    | ShowRow
    | ReadRows
    | TryTemplate
    | OpenRow
    | TryRow
    | SaveCopy
    | CancelCopy,
    Field(discriminator="kind"),
]
request_type: TypeAdapter[AnyRequest] = TypeAdapter(AnyRequest)
