"""The sample prompts with the answers of base and adapter, newest first."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QScrollArea, QVBoxLayout, QWidget

from studio.core.events.types import SampleAnswered
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.card import Card
from studio.gui.widgets.flow_text import FlowText
from studio.gui.widgets.labels import PlainLabel

_SHOWN_STEPS = 12
_NOT_YET = "There are no sample answers so far."
_NEVER = "This run wrote no sample answers."
_HOW = (
    "Add sample prompts in the recipe (Training, advanced), and base and adapter answer them "
    "during the run."
)


class SamplesPanel(QScrollArea):
    """One card per step and prompt: what the base said and what the adapter says now."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown: tuple[tuple[SampleAnswered, ...], bool] | None = None
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.show_samples(())

    def show_samples(self, samples: tuple[SampleAnswered, ...], *, is_over: bool = False) -> None:
        """Shows the newest answers, or why there are none."""
        if (samples, is_over) == self._shown:
            return
        self._shown = (samples, is_over)
        content = QWidget()
        content.setProperty("role", "scrolled")
        box = QVBoxLayout(content)
        box.setContentsMargins(0, SIZES.m, SIZES.s, 0)
        box.setSpacing(SIZES.m)
        groups = group_samples(samples)
        for (step, prompt), answers in list(groups.items())[:_SHOWN_STEPS]:
            box.addWidget(_SampleCard(step, prompt, answers))
        if not groups:
            box.addWidget(PlainLabel(f"{_NEVER if is_over else _NOT_YET} {_HOW}", "muted"))
        box.addStretch(1)
        self.setWidget(content)


class _SampleCard(Card):
    """One prompt with two answers side by side."""

    def __init__(self, step: int, prompt: str, answers: dict[str, str]) -> None:
        super().__init__()
        self.body.addWidget(PlainLabel(f"Step {step:,}", "overline", wraps=False))
        self.body.addWidget(FlowText(prompt))
        grid = QGridLayout()
        grid.setHorizontalSpacing(SIZES.xl)
        grid.setVerticalSpacing(2)
        for column, (source, name) in enumerate((("base", "Base"), ("adapter", "Adapter"))):
            grid.addWidget(PlainLabel(name, "caption", wraps=False), 0, column)
            answer = FlowText(answers.get(source, "…"))
            grid.addWidget(answer, 1, column, Qt.AlignmentFlag.AlignTop)
            grid.setColumnStretch(column, 1)
        self.body.addLayout(grid)


def group_samples(
    samples: Sequence[SampleAnswered],
) -> dict[tuple[int, str], dict[str, str]]:
    """Returns the answers by step and prompt, newest step first."""
    groups: dict[tuple[int, str], dict[str, str]] = {}
    for sample in sorted(samples, key=lambda sample: -sample.step):
        groups.setdefault((sample.step, sample.prompt), {})[sample.source] = sample.answer
    return groups
