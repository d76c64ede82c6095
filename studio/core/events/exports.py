"""The facts of what leaves this home for other tools, and of what comes in."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from studio.core.events.base import Event


class ExportProgressed(Event):
    """Part of an export or an import is written."""

    done_bytes: int
    total_bytes: int


class ExportFinished(Event):
    """The exported files are complete, and were compared with what was trained.

    ``certificate`` is the path of the proof. ``mean_divergence`` is in nats per token,
    ``equal_fraction`` the share of tokens chosen alike, ``engine`` the program that loaded the
    files. ``reasons`` say why the check failed, ``prompts`` where the questions came from.
    """

    folder: str
    files: tuple[str, ...]
    is_verified: bool
    largest_difference: float | None = None
    certificate: str | None = None
    mean_divergence: float | None = None
    equal_fraction: float | None = None
    engine: str = ""
    reasons: tuple[str, ...] = ()
    prompts: str = ""


class ExportFinding(BaseModel):
    """One thing that ``tool`` would not like about an adapter exported as ``target``.

    ``is_fatal``: the tool does not load it at all. ``remedies`` are names of what a button can do
    about it, the best one first; ``advice`` is the same in words. ``is_general``: it holds for
    files of this kind in every tool.
    """

    model_config = ConfigDict(frozen=True)
    tool: str
    target: str
    code: str
    message: str
    advice: str
    remedies: tuple[str, ...] = ()
    is_fatal: bool = True
    is_general: bool = False


class ExportChecked(Event):
    """It is known what each tool would refuse; ``rank`` is the highest one of the adapter.

    ``losses`` maps smaller ranks to the share of the update that they could not hold; empty where
    the adapter cannot be shrunk. ``quantisation`` is how the base was held in training, as far as a
    merge can choose between those weights and the original ones. ``layouts`` are the ways in which
    its experts can be written; empty without experts.
    """

    rank: int
    findings: tuple[ExportFinding, ...] = ()
    losses: dict[int, float] = Field(default_factory=dict)
    quantisation: str = "none"
    layouts: tuple[str, ...] = ()


class RunImported(Event):
    """The run, or the adapter alone, came from ``source`` and stands in this run directory.

    What was told before in the same journal happened elsewhere. ``has_recipe`` says whether the run
    can be repeated.
    """

    source: str
    has_recipe: bool = False


class ModelGrown(Event):
    """A copy of a model with new tokens was written."""

    folder: str
    files: tuple[str, ...]
    tokens: tuple[str, ...]


class PruneFinished(Event):
    """A pruned copy of a model was written; counts are of the matrices that were pruned."""

    folder: str
    files: tuple[str, ...]
    modules: int
    zeros: int
    weights: int


class ImportFinished(Event):
    """Everything was checked and copied; ``folder`` is the new run's directory.

    ``modules`` is the number of adapted layers, ``hashes`` the number of compared files.
    """

    folder: str
    name: str
    base: str | None = None
    modules: int = 0
    hashes: int = 0


class PushFinished(Event):
    """Everything is on the hub; ``url`` is the page of the repository, ``commit`` its version."""

    url: str
    commit: str


class HandedOver(Event):
    """Another program on this machine has the model: ``name`` there, ``place`` address or file.

    ``question`` was asked there once: ``expected`` is the trained adapter's answer, ``answer`` the
    program's; the tokens count what each read for the question. All is empty where nothing was
    asked. ``is_link`` says that the file takes no space of its own.
    """

    program: Literal["ollama", "lm_studio"]
    name: str
    place: str
    version: str = ""
    is_link: bool = False
    question: str = ""
    expected: str = ""
    answer: str = ""
    expected_tokens: int | None = None
    read_tokens: int | None = None
