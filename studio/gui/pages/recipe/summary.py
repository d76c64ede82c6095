"""The size of the adapter as the form stands, and everything that still has to be mended."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from studio.core.recipe.fields import get_field_table
from studio.core.recipe.problem import Problem
from studio.core.recipe.violations import get_generic_path
from studio.core.units import UNKNOWN, format_bytes, format_count, format_fraction
from studio.core.weights.layers import AdapterCount
from studio.gui.forms.editors.lists import RowsBox
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Card
from studio.gui.widgets.icon import Icon, Tone
from studio.gui.widgets.labels import PlainLabel, allow_breaks

_BYTES_PER_PARAMETER = 4  # adapters are trained and saved in float32
_SHOWN = 6
_ORDER = ("error", "warning", "note")
_TONES: dict[str, Tone] = {"error": "error", "warning": "warning", "note": "accent"}


class SizeCard(Card):
    """How many parameters are trained, their share, and the size of the file."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("The adapter", parent=parent)
        self._count = PlainLabel(UNKNOWN, "hero", wraps=False)
        self._count.setAccessibleName("Trainable parameters")
        self._share = PlainLabel(UNKNOWN, "strong", wraps=False)
        self._modules = PlainLabel(UNKNOWN, "strong", wraps=False)
        self._file = PlainLabel(UNKNOWN, "strong", wraps=False)
        self._reason = PlainLabel("", "caption")
        head = QVBoxLayout()
        head.setSpacing(0)
        head.addWidget(self._count)
        head.addWidget(PlainLabel("parameters are trained", "muted"))
        self.body.addLayout(head)
        grid = QGridLayout()
        grid.setHorizontalSpacing(SIZES.s)
        grid.setVerticalSpacing(SIZES.xs)
        rows = (("of all parameters", self._share), ("adapted modules", self._modules),
                ("adapter file, about", self._file))  # fmt: skip
        for row, (words, value) in enumerate(rows):
            grid.addWidget(PlainLabel(words, "muted", wraps=False), row, 0)
            grid.addWidget(value, row, 1, Qt.AlignmentFlag.AlignRight)
        self.body.addLayout(grid)
        self.body.addWidget(self._reason)
        self._reason.hide()

    def show_count(self, count: AdapterCount) -> None:
        """Shows the size of the adapter."""
        self._count.setText(format_count(count.trainable_parameters))
        self._count.setToolTip(f"{count.trainable_parameters:,}")
        self._share.setText(format_fraction(count.share))
        self._modules.setText(f"{count.modules:,}")
        self._file.setText(format_bytes(count.trainable_parameters * _BYTES_PER_PARAMETER))
        self._reason.hide()

    def show_unknown(self, reason: str) -> None:
        """Shows dashes and why nothing can be counted."""
        for label in (self._count, self._share, self._modules, self._file):
            label.setText(UNKNOWN)
        self._reason.setText(allow_breaks(reason))
        self._reason.setVisible(bool(reason))


class ProblemsCard(Card):
    """Everything that is wrong, each line leading to its setting.

    Signals:
        setting_requested: The user wants to mend the setting with this dotted path.
    """

    setting_requested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Ready to train?", parent=parent)
        self._rows = RowsBox()
        self._rows.setSpacing(SIZES.s)
        self.body.addLayout(self._rows)
        self._shown: Sequence[Problem] | None = None

    def show_problems(self, problems: Sequence[Problem]) -> None:
        """Shows the problems, or that there are none."""
        if problems == self._shown:
            return
        self._shown = problems
        self._rows.clear()
        if not any(problem.severity == "error" for problem in problems):
            self._rows.addWidget(_Line("success", "success", "No problems found."))
        ranked = sorted(problems, key=lambda problem: _ORDER.index(problem.severity))
        for problem in ranked[:_SHOWN]:
            line = _Line(
                problem.severity,
                _TONES[problem.severity],
                describe_problem(problem),
                get_place(problem.path),
            )
            line.pressed.connect(partial(self.setting_requested.emit, problem.path))
            self._rows.addWidget(line)
        if len(problems) > _SHOWN:
            rest = PlainLabel(f"and {len(problems) - _SHOWN} more", "caption")
            self._rows.addWidget(rest)


class _Line(QWidget):
    """One problem with its icon and a link to its setting."""

    pressed = Signal()

    def __init__(self, icon: str, tone: Tone, text: str, place: str = "") -> None:
        super().__init__()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(SIZES.s)
        grid.setVerticalSpacing(0)
        grid.addWidget(Icon(icon, tone), 0, 0, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(PlainLabel(allow_breaks(text)), 0, 1)
        grid.setColumnStretch(1, 1)
        if place:
            link = Button(place, "arrow-right", "quiet", icon_after=True)
            link.setProperty("compact", True)
            link.setAccessibleName(place)
            link.clicked.connect(self.pressed)
            grid.addWidget(
                link, 1, 0, 1, 2, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignAbsolute
            )


def describe_problem(problem: Problem) -> str:
    """Return a problem as a sentence that names its setting."""
    spec = get_field_table().get(get_generic_path(problem.path))
    name = spec.label if spec else problem.path
    is_missing = problem.message.startswith(("must not be empty", "is missing"))
    if problem.path == "base.model" and is_missing:
        return "No base model is chosen yet."
    if problem.path == "data.train" and is_missing:
        return "No training data is chosen yet."
    message = f"{name}: {problem.message}" if name else problem.message
    return f"{message} {problem.remedy}".strip()


def get_place(path: str) -> str:
    """Return what the link to a setting is called."""
    if path == "base.model":
        return "Choose a model"
    if path.startswith("data.train"):
        return "Choose data"
    spec = get_field_table().get(get_generic_path(path))
    return f"Go to {spec.label}" if spec else ""
