"""What can be chosen about the files besides tool and kind, and when each choice is offered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from studio.core.events.types import ExportChecked
from studio.core.jobs.orders import ExpertLayout, ExportTarget, MergeBase, QuantKind
from studio.core.weights.quantisable import QUANTISATION_NAMES
from studio.gui.bridge.export_history import ExportRecord

MERGING: tuple[ExportTarget, ...] = ("merged", "gguf", "ollama")
_KINDS: Mapping[str, tuple[str, ...]] = {
    "quant": get_args(QuantKind),
    "onto": get_args(MergeBase),
    "experts": get_args(ExpertLayout),
}


@dataclass(frozen=True)
class Choice:
    """One of a few values: the words on its button, and what choosing it means."""

    value: str
    words: str
    help: str


@dataclass(frozen=True)
class Options:
    """``quant`` is the number format of a GGUF file, ``onto`` what the adapter is joined with.

    ``experts`` is how the adapter's file holds the matrices of experts.
    """

    quant: QuantKind = "q8_0"
    onto: MergeBase = "original"
    experts: ExpertLayout = "kept"

    def change(self, name: str, value: str) -> Options:
        """Returns the options with another value; names and values that are not known change none.

        ``name`` is that of a field.
        """
        if value not in _KINDS.get(name, ()):
            return self
        return replace(self, **{name: value})  # type: ignore[arg-type]  # checked just above

    def fit(self, target: ExportTarget, checked: ExportChecked | None) -> Options:
        """Returns the options as they count for files of a kind: what does not apply is as usual.

        Without ``checked`` nothing is known yet, and what was chosen before still holds.
        """
        onto = {one.value for one in list_bases(target, checked)}
        layouts = {one.value for one in list_layouts(target, checked)}
        is_merge_free = self.onto in onto or (checked is None and target in MERGING)
        is_layout_free = self.experts in layouts or (checked is None and target == "adapter")
        return replace(
            self,
            onto=self.onto if is_merge_free else "original",
            experts=self.experts if is_layout_free else "kept",
        )


def list_bases(target: str, checked: ExportChecked | None) -> tuple[Choice, ...]:
    """Returns what an adapter can be merged onto; empty where there is no choice."""
    if checked is None or target not in MERGING or checked.quantisation == "none":
        return ()
    name = QUANTISATION_NAMES[checked.quantisation]
    usual = (
        "The usual way: onto the base as it was published, in full numbers. The adapter was "
        f"trained over a base held in {name}, so the answers differ a little from training."
    )
    if any(one.code == "loftq" for one in checked.findings):
        usual = f"Wrong for this adapter: it only fits the base as it was held in {name}."
    return (
        Choice(
            "original",
            "Original model",
            usual,
        ),
        Choice(
            "dequantised",
            "As in training",
            f"Onto the rounded numbers that the base had in training, in {name}. Answers as it did "
            "there. The files do not get smaller by it.",
        ),
    )


def list_layouts(target: str, checked: ExportChecked | None) -> tuple[Choice, ...]:
    """Returns how the matrices of experts can be written; empty where there is no choice."""
    if checked is None or target != "adapter" or not checked.layouts:
        return ()
    known = (
        Choice(
            "stacked",
            "In stacks",
            "All experts of a layer in one block, as transformers 5 and PEFT from 0.17 on hold "
            "them. The adapter computes the same.",
        ),
        Choice(
            "single",
            "One by one",
            "Each expert under its own name, as the files of the base and earlier tools have it. "
            "The adapter computes the same.",
        ),
    )
    kept = Choice("kept", "As they are", "The experts stay as the file of the adapter has them.")
    return (kept, *(one for one in known if one.value in checked.layouts))


def recall_options(history: Sequence[ExportRecord], adapter: Path | None) -> Options:
    """Returns how an adapter was exported the last time, in what matters to it; else as usual."""
    found = [one for one in history if adapter is not None and one.adapter == str(adapter)]
    options = Options()
    for name in ("onto", "experts"):
        is_asked = [one for one in found if one.target in _get_targets(name)]
        if is_asked:
            options = options.change(name, getattr(is_asked[0], name))
    return options


def describe_options(record: ExportRecord) -> str:
    """Returns what was chosen for an export besides the usual, as sentences; often empty."""
    words = ""
    if record.onto == "dequantised" and record.target in MERGING:
        words += " Merged onto the numbers that the base had in training."
    if record.experts != "kept" and record.target == "adapter":
        how = "in stacks" if record.experts == "stacked" else "one by one"
        words += f" Its experts are written {how}."
    return words


def _get_targets(name: str) -> tuple[ExportTarget, ...]:
    return MERGING if name == "onto" else ("adapter",)
