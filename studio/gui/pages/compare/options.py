"""How the answers are written: length, chance, template; folded away until wanted."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDoubleSpinBox, QHBoxLayout, QSpinBox, QVBoxLayout, QWidget

from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.labels import PlainLabel, plain_tooltip
from studio.gui.widgets.segmented import Segmented


@dataclass(frozen=True)
class AskOptions:
    """The settings of one question; temperature 0 always takes the likeliest token."""

    is_raw: bool = False
    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


class OptionsPanel(QWidget):
    """Editors for ``AskOptions``.

    Signals:
        changed: Some value changed.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._is_raw = False
        self._is_greedy = True
        self._mode = Segmented("Prompt", (("chat", "Chat", "chat"), ("raw", "Plain text", "file")))
        self._mode.chosen.connect(self._on_mode_chosen)
        self._choice = Segmented(
            "Choice of words", (("greedy", "Most likely", ""), ("sampled", "With chance", ""))
        )
        self._choice.chosen.connect(self._on_choice_chosen)
        self._length = QSpinBox()
        self._length.setRange(1, 8192)
        self._length.setValue(256)
        self._temperature = QDoubleSpinBox()
        self._temperature.setRange(0.05, 2.0)
        self._temperature.setSingleStep(0.1)
        self._temperature.setValue(0.8)
        self._top_p = QDoubleSpinBox()
        self._top_p.setRange(0.05, 1.0)
        self._top_p.setSingleStep(0.05)
        self._top_p.setValue(0.95)
        self._seed = QSpinBox()
        self._seed.setRange(0, 2**31 - 1)
        self._build()
        self._mode.show_value("chat")
        self._choice.show_value("greedy")
        self._enable()

    @property
    def options(self) -> AskOptions:
        """The values as they are now."""
        return AskOptions(
            is_raw=self._is_raw,
            max_new_tokens=self._length.value(),
            temperature=0.0 if self._is_greedy else self._temperature.value(),
            top_p=1.0 if self._is_greedy else self._top_p.value(),
            seed=self._seed.value(),
        )

    def describe(self) -> str:
        """Returns the values in a few words, for the folded state."""
        words = "plain text" if self._is_raw else "chat"
        chance = "most likely words"
        if not self._is_greedy:
            chance = f"temperature {self._temperature.value():.2g}, seed {self._seed.value()}"
        return f"{words}, {chance}, up to {self._length.value():,} tokens"

    def _build(self) -> None:
        rows = (
            (
                (self._mode, "Prompt", "Chat uses the model's own template; plain text goes on"),
                (self._choice, "Choice of words", "Most likely gives the same answer every time"),
            ),
            (
                (self._length, "Longest answer", "In tokens; about three quarters of a word each"),
                (self._temperature, "Temperature", "Higher values give more surprising answers"),
                (self._top_p, "Top-p", "Only the likeliest words that have this share together"),
                (self._seed, "Seed", "The same seed gives the same answer"),
            ),
        )
        box = QVBoxLayout(self)
        box.setContentsMargins(SIZES.m, 0, 0, SIZES.s)
        box.setSpacing(SIZES.s)
        for cells in rows:
            line = QHBoxLayout()
            line.setSpacing(SIZES.l)
            for editor, name, help_text in cells:
                line.addLayout(_build_cell(editor, name, help_text))
            line.addStretch(1)
            box.addLayout(line)
        for spin in (self._length, self._temperature, self._top_p, self._seed):
            spin.valueChanged.connect(self.changed)
            spin.setFixedWidth(118)
            spin.lineEdit().setTextMargins(SIZES.s, 0, 0, 0)

    def _on_mode_chosen(self, mode: str) -> None:
        self._is_raw = mode == "raw"
        self.changed.emit()

    def _on_choice_chosen(self, choice: str) -> None:
        self._is_greedy = choice == "greedy"
        self._enable()
        self.changed.emit()

    def _enable(self) -> None:
        for editor in (self._temperature, self._top_p, self._seed):
            editor.setEnabled(not self._is_greedy)


def _build_cell(editor: QWidget, name: str, help_text: str) -> QVBoxLayout:
    cell = QVBoxLayout()
    cell.setSpacing(2)
    label = PlainLabel(name, "caption", wraps=False)
    label.setBuddy(editor)
    editor.setAccessibleName(name)
    editor.setToolTip(plain_tooltip(help_text))
    cell.addWidget(label)
    cell.addWidget(editor)
    return cell
