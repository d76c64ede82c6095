"""The recipe page: presets and the form on the left, what comes of it on the right."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from studio.core.recipe.problem import Problem
from studio.gui.context import Context
from studio.gui.pages.recipe.advice_card import AdviceCard
from studio.gui.pages.recipe.files import RecipeFiles
from studio.gui.pages.recipe.judge import RecipeJudge
from studio.gui.pages.recipe.measure_box import MeasureBox
from studio.gui.pages.recipe.memory_card import MemoryCard
from studio.gui.pages.recipe.outlook import Outlook
from studio.gui.pages.recipe.presets import find_presets
from studio.gui.pages.recipe.sheet import RecipeSheet
from studio.gui.pages.recipe.summary import ProblemsCard, SizeCard
from studio.gui.pages.recipe.undo_button import UndoButton
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.page import Page
from studio.gui.widgets.scroll import build_scroll_area

_SIDE_WIDTHS = (288, 336)
_OPEN_KEY = "recipe_open_sections"


class RecipePage(Page):
    """Edits the draft; every change is kept at once."""

    def __init__(self, context: Context) -> None:
        super().__init__("Recipe", "All settings. The defaults are a good start.", scrolls=False)
        self._preferences = context.preferences
        self._draft = context.draft
        self._journey = context.journey
        self._notice = Notice()
        self._files = RecipeFiles(self)
        self._sheet = RecipeSheet(find_presets(), self._preferences.get_texts(_OPEN_KEY))
        self._measure = MeasureBox()
        self._memory = MemoryCard(self._measure)
        self._advice = AdviceCard()
        self._outlook = Outlook(context, self._memory, self._advice, self._measure)
        self._size = SizeCard()
        self._problems = ProblemsCard()
        self._judge = RecipeJudge(context, self)
        self._undo = UndoButton(self)
        self._build_header_actions()
        self._build_columns()
        self._connect()
        self._show_draft()

    def refresh(self) -> None:
        """Shows the draft, which may have changed on another page."""
        self._show_draft()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Begins to look at the free memory."""
        super().showEvent(event)
        self._outlook.follow()
        self._outlook.watch(is_shown=True)

    def hideEvent(self, event: QHideEvent) -> None:  # noqa: N802 - Qt's name
        """Looks at nothing any more."""
        super().hideEvent(event)
        self._outlook.watch(is_shown=False)

    def _connect(self) -> None:
        draft, notice = self._draft, self._notice
        self._files.recipe_opened.connect(draft.load)
        self._files.failed.connect(notice.show_error)
        self._sheet.values_chosen.connect(draft.set_values)
        self._sheet.value_edited.connect(draft.set_value)
        self._undo.clicked.connect(draft.undo)
        draft.history.changed.connect(lambda: self._undo.show_last(draft.history.words))
        self._outlook.changes_chosen.connect(draft.set_values)
        self._sheet.fold_toggled.connect(self._on_fold_toggled)
        self._problems.setting_requested.connect(self._on_setting_requested)
        self._outlook.layers_known.connect(self._judge.learn)
        self._judge.counted.connect(self._size.show_count)
        self._judge.not_counted.connect(self._size.show_unknown)
        self._judge.problems_found.connect(self._show_problems)
        self._judge.failed.connect(notice.show_error)
        draft.changed.connect(self._show_draft)
        draft.save_failed.connect(notice.show_error)

    def _build_header_actions(self) -> None:
        open_file = Button("&Open…", "folder")
        open_file.clicked.connect(self._files.open)
        save = Button("&Save as…", "download")
        save.clicked.connect(lambda: self._files.save(self._draft.recipe))
        go_on = Button("&Next: Train", "arrow-right", "primary", icon_after=True)
        go_on.clicked.connect(lambda: self.page_requested.emit("train"))
        for button in (self._undo, open_file, save, go_on):
            self.header_actions.addWidget(button)

    def _build_columns(self) -> None:
        left = _build_column(self._notice, self._sheet)
        left.setContentsMargins(0, 0, SIZES.s, SIZES.xl)
        right = _build_column(self._memory, self._advice, self._problems, self._size)
        right.setContentsMargins(0, 0, SIZES.s, SIZES.xl)
        self._scroll = build_scroll_area(left)
        side = build_scroll_area(right)
        side.setMinimumWidth(_SIDE_WIDTHS[0])
        side.setMaximumWidth(_SIDE_WIDTHS[1])
        columns = QHBoxLayout()
        columns.setSpacing(SIZES.s)
        columns.addWidget(self._scroll, 7)
        columns.addWidget(side, 3)
        self.body.setContentsMargins(SIZES.xl, SIZES.xs, SIZES.xs, 0)
        self.body.addLayout(columns, 1)

    def _show_draft(self, _path: str = "") -> None:
        values = self._draft.get_values()
        self._sheet.show_values(values)
        self._judge.judge(may_read=self.isVisible())
        if self.isVisible():
            self._outlook.follow()

    def _show_problems(self, problems: Sequence[Problem]) -> None:
        self._sheet.show_problems(problems)
        self._problems.show_problems(problems)
        is_sound = not any(problem.severity == "error" for problem in problems)
        self._journey.mark("recipe", is_done=is_sound)

    def _on_fold_toggled(self, section: str, is_open: bool) -> None:
        opened = set(self._preferences.get_texts(_OPEN_KEY)) - {section}
        opened |= {section} if is_open else set()
        self._preferences.keep(_OPEN_KEY, sorted(opened))

    def _on_setting_requested(self, path: str) -> None:
        if path == "base.model" or path.startswith("data.train"):
            self.page_requested.emit("model" if path == "base.model" else "data")
            return
        row = self._sheet.lead_to(path)
        if row is not None:
            self._scroll.ensureWidgetVisible(row)


def _build_column(*widgets: QWidget) -> QVBoxLayout:
    column = QVBoxLayout()
    column.setSpacing(SIZES.l)
    for widget in widgets:
        column.addWidget(widget)
    column.addStretch(1)
    return column
