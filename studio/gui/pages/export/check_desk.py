"""Ties the checks of all tools to the cards that show them."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from studio.core.events.types import ExportFinding
from studio.gui.bridge.export_check import ExportCheck
from studio.gui.pages.export.findings import describe_applied, describe_price, get_state, list_open
from studio.gui.pages.export.options import list_bases, list_layouts
from studio.gui.pages.export.presenter import ExportPresenter
from studio.gui.pages.export.tool_card import ToolCard
from studio.gui.pages.export.tools import TOOLS


class CheckDesk(QObject):
    """Checks the adapter that is chosen, and shows what was found and what remedies settled.

    Signals:
        failed: A ``StudioError``: the adapter or its base cannot be read.
    """

    failed = Signal(object)

    def __init__(self, check: ExportCheck, presenter: ExportPresenter, card: ToolCard) -> None:
        super().__init__(card)
        self._check, self._presenter, self._card = check, presenter, card
        self._found: list[ExportFinding] = []
        check.changed.connect(self._show)
        presenter.changed.connect(self._on_presenter_changed)
        card.chosen.connect(presenter.choose_tool)
        card.form_chosen.connect(presenter.choose_target)
        card.option_chosen.connect(presenter.choose_option)
        card.remedy_chosen.connect(presenter.apply)
        card.remedy_dropped.connect(presenter.take_back)

    @property
    def is_blocked(self) -> bool:
        """Whether the chosen tool would refuse the files as they are chosen now."""
        return any(one.is_fatal for one in self._found)

    def _on_presenter_changed(self) -> None:
        presenter = self._presenter
        self._card.show_choice(presenter.tool, presenter.target, presenter.options.quant)
        self._card.setEnabled(not presenter.is_busy)
        self._check.check(presenter.choice)
        self._show()

    def _show(self) -> None:
        presenter, checked = self._presenter, self._check.checked
        presenter.checked = checked
        presenter.rank = 0 if checked is None else checked.rank
        options = presenter.options.fit(presenter.target, checked)
        self._card.show_bases(list_bases(presenter.target, checked), options.onto)
        self._card.show_layouts(list_layouts(presenter.target, checked), options.experts)
        is_checking = self._check.is_checking
        self._card.show_states(
            {tool.key: get_state(checked, tool, is_checking=is_checking) for tool in TOOLS}
        )
        settled = presenter.remedies
        if options.onto == "dequantised":
            settled = (*settled, "merge_dequantised")
        if options.experts == "single":
            settled = (*settled, "single_experts")
        self._found = found = list_open(checked, presenter.tool, presenter.target, settled)
        self._card.show_findings(
            found,
            {name: describe_applied(name, checked) for name in presenter.remedies},
            {name: describe_price(name, checked) for one in found for name in one.remedies},
        )
        is_asked = presenter.choice is not None and bool(presenter.choice.lacking_run)
        if self._check.error is not None and not is_asked:  # the card of the adapter asks
            self.failed.emit(self._check.error)
