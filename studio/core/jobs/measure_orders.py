"""The orders of jobs that measure and mix adapters: evaluate, forgetting and blend."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from studio.core.forgetting.probes import Probe
from studio.core.jobs.order import Order
from studio.core.weights.gains import LayerGain
from studio.core.weights.quantisable import BaseForm


class EvaluateOrder(Order):
    """Measure a base and adapters on the rows of a file, or on those a run held back.

    ``run`` is the folder of a run whose validation rows are measured; ``data`` is empty then.
    ``metrics`` are names, some with an argument as in ``regex=^[0-9]+$``; none means the usual
    ones. Answers are greedy. ``quantisation`` auto holds the base as all adapters saw it.
    """

    kind: Literal["evaluate"] = "evaluate"
    base: str
    adapters: dict[str, str] = Field(default_factory=dict)
    data: str = ""
    run: str | None = None
    format: str = "auto"
    columns: dict[str, str] = Field(default_factory=dict)
    split: str = "train"
    limit: int | None = Field(None, ge=1)
    metrics: tuple[str, ...] = ()
    max_new_tokens: int = Field(128, ge=1)
    device: str = "auto"
    dtype: str = "auto"
    quantisation: BaseForm = "auto"


class ForgettingOrder(Order):
    """Ask base and adapters what must still work, and measure how far their words are apart.

    ``probes`` are the prompts themselves, so that the job depends on no file that may change.
    ``quantisation`` auto holds the base as all adapters saw it in training.
    """

    kind: Literal["forgetting"] = "forgetting"
    base: str
    adapters: dict[str, str] = Field(min_length=1)
    probes: tuple[Probe, ...] = Field(min_length=1)
    max_new_tokens: int = Field(64, ge=1)
    device: str = "auto"
    dtype: str = "auto"
    quantisation: BaseForm = "auto"


class BlendPart(BaseModel):
    """One adapter of a mix and how strongly it counts, in all layers and in some."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    adapter: str
    weight: float = 1.0
    gains: tuple[LayerGain, ...] = ()


class BlendSettings(BaseModel):
    """How adapters of one base are mixed.

    ``rank`` None means the sum of the ranks. ``density`` is the share of each update that ties and
    dare keep; ``seed`` decides what dare drops.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    parts: tuple[BlendPart, ...] = Field(min_length=1)
    method: Literal["linear", "svd", "ties", "dare"] = "linear"
    rank: int | None = Field(None, ge=1)
    density: float = Field(0.5, gt=0, le=1)
    seed: int = 0


class BlendOrder(BlendSettings, Order):
    """Write a mix as a new adapter: to the folder ``out``, into the history, or both.

    ``home`` is the folder whose history it joins under ``name``; None means that it does not.
    """

    kind: Literal["blend"] = "blend"
    out: str | None = None
    home: str | None = None
    name: str = "Mix"


class InsideOrder(Order):
    """Measure what adapters change in each layer, and how alike they are.

    ``base`` is a model folder or name, empty for what each adapter itself names; its weights are
    only read to say how large the updates are beside them.
    """

    kind: Literal["inside"] = "inside"
    adapters: dict[str, str] = Field(min_length=1)
    base: str = ""
