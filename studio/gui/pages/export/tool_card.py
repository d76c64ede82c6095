"""For which tool the files are meant, in which form, and what its checks say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QFrame, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from studio.core.events.types import ExportFinding
from studio.core.jobs.remedies import REMEDIES
from studio.gui.pages.export.findings import State
from studio.gui.pages.export.option_row import OptionRow
from studio.gui.pages.export.options import Choice
from studio.gui.pages.export.tools import TOOLS, Tool
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Card
from studio.gui.widgets.choice_card import ChoiceCard
from studio.gui.widgets.flow_row import FlowRow
from studio.gui.widgets.icon import Icon, Tone
from studio.gui.widgets.labels import PlainLabel, allow_breaks, plain_tooltip
from studio.gui.widgets.segmented import Segmented

_QUANTS = (
    ("q8_0", "8 bits - nearly exact"),
    ("q6_k", "6 bits - very good"),
    ("q5_k_m", "5 bits - good"),
    ("q4_k_m", "4 bits - small, a little less exact"),
    ("q4_0", "4 bits - old format, for old programs"),
    ("f16", "16 bits - exact, large"),
    ("bf16", "16 bits, bfloat - exact, large"),
    ("f32", "32 bits - exact, very large"),
)
_PER_ROW = 4
_QUANTISED = ("gguf", "ollama")


class ToolCard(Card):
    """One card per tool, the forms it takes, the size of numbers, findings with their remedies.

    Signals:
        chosen: The key of a tool.
        form_chosen: A kind of file, such as ``merged``.
        option_chosen: A field of ``Options`` and its new value, such as ``quant`` and ``q8_0``.
        remedy_chosen: The name of a remedy to apply.
        remedy_dropped: The name of a remedy to take back.
    """

    chosen = Signal(str)
    form_chosen = Signal(str)
    option_chosen = Signal(str, str)
    remedy_chosen = Signal(str)
    remedy_dropped = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("2. Where it will be used", parent=parent)
        self._cards: dict[str, ChoiceCard] = {}
        rows = QGridLayout()
        rows.setSpacing(SIZES.s)
        for place, tool in enumerate(TOOLS):
            card = ChoiceCard(tool.title, tool.sentence, "export")
            card.show_details(tool.needs)
            card.chosen.connect(lambda key=tool.key: self.chosen.emit(key))
            self._cards[tool.key] = card
            rows.addWidget(card, *divmod(place, _PER_ROW))
        for column in range(_PER_ROW):
            rows.setColumnStretch(column, 1)
        self.body.addLayout(rows)
        self._needs = PlainLabel("", "muted")
        self.body.addWidget(self._needs)
        self._forms: dict[str, Segmented] = {}
        self._form_row = QWidget()
        line = QHBoxLayout(self._form_row)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(SIZES.m)
        line.addWidget(PlainLabel("Files", wraps=False))
        for tool in TOOLS:
            if len(tool.forms) > 1:
                line.addWidget(self._build_forms(tool))
        self._form_help = PlainLabel("", "caption")
        line.addWidget(self._form_help, 1)
        self.body.addWidget(self._form_row)
        self._build_quant()
        self._onto = OptionRow(
            "Merge onto",
            "The base was held in fewer bits while the adapter was trained, which rounds its "
            "numbers. Merging writes base and adapter as one model: onto which of the two?",
        )
        self._onto.chosen.connect(lambda value: self.option_chosen.emit("onto", value))
        self._experts = OptionRow(
            "Experts in the file",
            "This model has experts: parts of a layer of which only a few work on each token. "
            "Tools differ in how they read their part of an adapter.",
        )
        self._experts.chosen.connect(lambda value: self.option_chosen.emit("experts", value))
        self.body.addWidget(self._onto)
        self.body.addWidget(self._experts)
        self._findings = QVBoxLayout()
        self._findings.setSpacing(SIZES.s)
        self.body.addLayout(self._findings)

    def show_states(self, states: Mapping[str, State]) -> None:
        """Shows by key what the checks say about each tool."""
        for key, card in self._cards.items():
            state = states.get(key, State(""))
            card.show_state(state.words, state.kind)

    def show_choice(self, tool: Tool, target: str, quant: str) -> None:
        """Marks the tool and the form that will be written."""
        for name, card in self._cards.items():
            card.show_chosen(name == tool.key)
        self._needs.setText(tool.needs)
        self._form_row.setVisible(len(tool.forms) > 1)
        for name, forms in self._forms.items():
            forms.setVisible(name == tool.key)
        if tool.key in self._forms:
            self._forms[tool.key].show_value(target)
        helps = {form.target: form.help for form in tool.forms}
        self._form_help.setText(next((h for key, h in helps.items() if key == target), ""))
        self._quant.setCurrentIndex(self._quant.findData(quant))
        self._quant_row.setVisible(target in _QUANTISED)

    def show_bases(self, choices: Sequence[Choice], value: str) -> None:
        """Shows what the adapter can be merged onto, and what holds."""
        self._onto.show_choices(choices, value)

    def show_layouts(self, choices: Sequence[Choice], value: str) -> None:
        """Shows how the file can hold experts, and what holds."""
        self._experts.show_choices(choices, value)

    def show_findings(
        self,
        findings: Sequence[ExportFinding],
        applied: Mapping[str, str],
        prices: Mapping[str, str],
    ) -> None:
        """Shows what speaks against the files, and remedies that were chosen, in words by name.

        What the tool would refuse comes first. ``prices`` are the words of the remedies' buttons.
        """
        while (item := self._findings.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for finding in sorted(findings, key=lambda one: not one.is_fatal):
            self._findings.addWidget(self._build_finding(finding, prices))
        for name, words in applied.items():
            undo = Button("Take back", kind="quiet")
            undo.setAccessibleName(f"Take back: {REMEDIES[name].words}")
            undo.clicked.connect(lambda _=False, name=name: self.remedy_dropped.emit(name))
            self._findings.addWidget(_build_strip("note", words, "", [undo]))

    def point_at_finding(self) -> QWidget:
        """Moves the keyboard to the first remedy of the first finding; returns what to look at."""
        item = self._findings.itemAt(0)
        strip = None if item is None else item.widget()
        if strip is None:
            return self
        remedy = strip.findChild(Button)
        if remedy is not None:
            remedy.setFocus(Qt.FocusReason.OtherFocusReason)
        return strip

    def _build_finding(self, finding: ExportFinding, prices: Mapping[str, str]) -> QWidget:
        buttons = []
        for name in finding.remedies:
            button = Button(prices.get(name, REMEDIES[name].words))
            button.setToolTip(plain_tooltip(REMEDIES[name].help))
            button.clicked.connect(lambda _=False, name=name: self.remedy_chosen.emit(name))
            buttons.append(button)
        kind = "warning" if finding.is_fatal else "note"
        return _build_strip(kind, finding.message, finding.advice, buttons)

    def _build_forms(self, tool: Tool) -> Segmented:
        choices = [(form.target, form.words, "") for form in tool.forms]
        forms = Segmented("Files", choices)
        forms.chosen.connect(self.form_chosen)
        self._forms[tool.key] = forms
        return forms

    def _build_quant(self) -> None:
        self._quant = QComboBox()
        self._quant.setAccessibleName("Size of the numbers")
        for key, words in _QUANTS:
            self._quant.addItem(words, key)
        self._quant.activated.connect(
            lambda index: self.option_chosen.emit("quant", self._quant.itemData(index))
        )
        self._quant_row = QWidget()
        line = QHBoxLayout(self._quant_row)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(SIZES.m)
        line.addWidget(PlainLabel("Size of the numbers", wraps=False))
        line.addWidget(self._quant)
        line.addStretch(1)
        self.body.addWidget(self._quant_row)


def _build_strip(kind: str, message: str, advice: str, buttons: Sequence[Button]) -> QFrame:
    """Returns a coloured bar with a message, what to do, and buttons that do it."""
    strip = QFrame()
    strip.setProperty("kind", kind)
    strip.setAccessibleName(f"{message} {advice}".strip())
    texts = QVBoxLayout()
    texts.setSpacing(SIZES.xs)
    texts.addWidget(PlainLabel(allow_breaks(message), "strong" if advice else "body"))
    if advice:
        texts.addWidget(PlainLabel(allow_breaks(advice)))
    if buttons:
        row = QWidget()
        flow = FlowRow(row, SIZES.s)
        for button in buttons:
            flow.addWidget(button)
        texts.addWidget(row)
    line = QHBoxLayout(strip)
    line.setContentsMargins(SIZES.m, SIZES.m - 2, SIZES.m, SIZES.m - 2)
    line.setSpacing(SIZES.m)
    tone: Tone = "warning" if kind == "warning" else "accent"
    line.addWidget(Icon(kind, tone), 0, Qt.AlignmentFlag.AlignTop)
    line.addLayout(texts, 1)
    return strip
