"""Between the draft, the survey of its data and the panels that show it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from studio.core.errors import StudioError
from studio.core.events.survey import LayoutOption
from studio.core.events.types import (
    DataProblemFound,
    DataSurveyed,
    Event,
    LimitsMeasured,
    RowShown,
    SourceExamined,
    SurveyProgressed,
)
from studio.core.files import write_atomically
from studio.core.jobs.orders import RowList, RowSide, SurveyOrder
from studio.core.recipe.remedies import DataFacts
from studio.gui.bridge.data_survey import DataSurvey
from studio.gui.bridge.epoch_clock import EpochClock
from studio.gui.context import Context
from studio.gui.pages.data.checks_panel import count_findings
from studio.gui.pages.data.columns_panel import SHOWN_ROWS
from studio.gui.pages.data.correction.corrector import Corrector
from studio.gui.pages.data.places_filler import PlacesFiller
from studio.gui.pages.data.tabs import CHECKS, COLUMNS, LEARNING, LENGTHS, RAW, XRAY, DataTabs
from studio.gui.widgets.notice import Notice

_LEARNT_HELP = "So many rows were read; so much of their tokens the model learns to write."
_XRAY, _COLUMN, _LEARNING = "xray", "column-", "learning"


class SurveyView(QObject):
    """Starts a look when somebody looks, and passes what it finds to the panels.

    Signals:
        page_requested: The page that mends what forbids the survey.
        source_examined: What a training file seems to be; a ``SourceExamined``.
    """

    page_requested = Signal(str)
    source_examined = Signal(object)

    def __init__(self, context: Context, tabs: DataTabs, notice: Notice, page: QWidget) -> None:
        super().__init__(page)
        self._context = context
        self._tabs = tabs
        self._survey = DataSurvey(context.feed, self)
        self._corrector = Corrector(context, self._survey, notice, self._ask_listed, page)
        self._filler = PlacesFiller(context.draft, page)
        self._clock = EpochClock(context.background, context.home, self)
        self._opens_next = False
        self._looked: tuple[SurveyOrder, dict[str, Any]] | None = None
        self._sought: tuple[int, int] | None = None
        self._forget()
        self._way_out = ""
        self._chosen = 0
        self._connect()

    def refresh(self) -> None:
        """Looks again where the draft is no longer what was looked at, if anybody looks."""
        values = self._context.draft.get_values()
        data = values["data"]
        self._tabs.learning.show_values(data)
        self._tabs.xray.show_excluded(frozenset(data["exclude"]))
        names = [Path(str(source["source"])).name for source in data["train"]]
        self._chosen = min(self._chosen, max(0, len(names) - 1))
        self._tabs.columns.show_sources(names, self._chosen)
        if not names:
            self._survey.stop()
            self._looked = None
            return
        if not values["base"]["model"]:
            self._forbid()
            return
        order = SurveyOrder(
            base=values["base"]["model"],
            revision=values["base"]["revision"],
            base_folder=str(self._context.draft.base_folder),
        )
        is_same = self._looked == (order, data) and self._survey.is_alive
        if is_same or self._tabs.currentIndex() == RAW:
            return
        if self._looked is None or self._looked[0] != order or not self._survey.is_alive:
            self._tabs.show_reason(
                "eye",
                "Looking at the data …",
                "The rows are read with the model's own tokenizer and template, as for training. "
                "Nothing is trained.",
            )
        self._way_out = ""
        self._looked = (order, data)
        self._tabs.show_state("looking …")
        self._survey.look_at(order, data)

    def _connect(self) -> None:
        tabs, survey = self._tabs, self._survey
        self._clock.ready.connect(lambda: tabs.lengths.show_times(self._clock.find_time))
        survey.look_started.connect(self._on_look_started)
        survey.found.connect(self._on_found)
        survey.row_shown.connect(self._on_row_shown)
        survey.template_tried.connect(tabs.learning.show_trial)
        survey.failed.connect(self._on_failed)
        tabs.currentChanged.connect(lambda _: self.refresh())
        tabs.way_out_requested.connect(self._on_way_out_requested)
        tabs.xray.row_wanted.connect(self._on_xray_row_wanted)
        tabs.xray.correction_wanted.connect(self._on_correction_wanted)
        tabs.checks.correction_wanted.connect(self._on_check_correction_wanted)
        tabs.xray.leave_out_toggled.connect(self._on_leave_out_toggled)
        tabs.checks.remedy_chosen.connect(self._on_remedy_chosen)
        tabs.checks.rows_wanted.connect(self._on_rows_wanted)
        tabs.checks.lead_chosen.connect(self._on_lead_chosen)
        tabs.lengths.limit_chosen.connect(
            lambda limit: self._context.draft.set_value("data.max_tokens", limit)
        )
        tabs.columns.source_chosen.connect(self.show_source)
        tabs.columns.layout_edited.connect(self._on_layout_edited)
        tabs.columns.way_chosen.connect(self._on_way_chosen)
        tabs.learning.setting_edited.connect(self._context.draft.set_value)
        tabs.learning.trial_wanted.connect(
            lambda text, row: self._survey.try_template(text, self._first_source(), row)
        )
        tabs.learning.template_saved.connect(self._on_template_saved)
        tabs.learning.row_wanted.connect(lambda row: self._survey.show_row(_LEARNING, row - 1))

    def show_source(self, position: int) -> None:
        """Shows the columns of another file."""
        self._chosen = position
        found = self._examined.get(position)
        sources = self._context.draft.get_value("data.train")
        if found is not None and position < len(sources):
            self._tabs.columns.show_found(found, sources[position])
            if found.format and self._surveyed is not None:
                for index in range(SHOWN_ROWS):
                    self._survey.show_row(f"{_COLUMN}{index}", source=position, row=index + 1)

    def seek_row(self, source: int, number: int) -> None:
        """Shows one row of a training file in the X-ray as soon as it is read."""
        self._sought = (source, number)
        self._tabs.setCurrentIndex(XRAY)
        self._tabs.xray.choose_list("")

    def _forget(self) -> None:
        self._problems: list[DataProblemFound] = []
        self._examined: dict[int, SourceExamined] = {}
        self._limits: LimitsMeasured | None = None
        self._surveyed: DataSurveyed | None = None

    def _first_source(self) -> int:
        usable = [position for position, one in self._examined.items() if one.format]
        return min(usable, default=0)

    def _forbid(self) -> None:
        self._survey.stop()
        self._looked = None
        self._way_out = "model"
        self._tabs.show_state("")
        self._tabs.show_reason(
            "lock",
            "A model is needed first",
            "Every model cuts text into other tokens, so it has to be known which one will read "
            "the rows.",
            "Choose a model",
        )

    def _on_look_started(self) -> None:
        self._forget()
        self._tabs.show_notice(None)

    def _on_found(self, event: Event) -> None:
        if isinstance(event, SourceExamined):
            self._on_examined(event)
        elif isinstance(event, SurveyProgressed):
            self._tabs.show_state(f"reading, {event.rows:,} rows so far …")
        elif isinstance(event, DataProblemFound):
            self._problems.append(event)
        elif isinstance(event, DataSurveyed):
            self._on_surveyed(event)
        elif isinstance(event, LimitsMeasured):
            self._limits = event
            draft = self._context.draft
            self._clock.follow(draft.recipe, draft.base_folder)
            wanted = self._context.draft.get_value("data.max_tokens")
            self._tabs.lengths.show_limits(event, wanted)
            self._tabs.show_panels(LENGTHS)
            self._show_checks()

    def _on_examined(self, event: SourceExamined) -> None:
        if event.side != "train":
            if not event.format:
                self._note_validation_file(event)
            return
        self._examined[event.position] = event
        self._tabs.learning.show_formats([one.format for one in self._examined.values()])
        self.source_examined.emit(event)
        self._tabs.show_panels(COLUMNS, LEARNING)
        if event.certainty == "unsure" and not any(one.format for one in self._examined.values()):
            self._way_out = "columns"
            self._tabs.show_state("waits for your choice")
            self._tabs.show_reason(
                "eye", "One question first", event.message, "Choose the columns", XRAY, LENGTHS
            )
        if event.certainty in ("unsure", "unreadable"):
            code = "format_unclear" if event.certainty == "unsure" else "unreadable"
            self._problems.append(
                DataProblemFound(
                    code=code,
                    message=event.message,
                    remedy="Say which column plays which part."
                    if code == "format_unclear"
                    else event.remedy,
                    is_fatal=True,
                    source=event.position,
                )
            )
            self._show_checks()
        if event.position == self._chosen:
            self.show_source(event.position)

    def _note_validation_file(self, event: SourceExamined) -> None:
        """Notes that rows of a validation file cannot be used as it stands."""
        name = Path(event.source).name
        self._problems.append(
            DataProblemFound(
                code="unreadable",
                message=f"The validation file {name} cannot be used yet. {event.message}",
                remedy="Write its columns as in the training data, or measure on a share of the "
                "training rows instead.",
                is_fatal=True,
            )
        )
        self._show_checks()

    def _on_surveyed(self, event: DataSurveyed) -> None:
        self._surveyed = event
        self._filler.note_places(event.places)
        # What the sample showed is found again, and more of it, among all rows.
        kept = ("format_unclear", "unreadable")
        self._problems = [one for one in self._problems if one.code in kept]
        share = event.supervised_tokens / max(1, event.tokens)
        rows = f"{event.rows:,} row" + ("" if event.rows == 1 else "s")
        words = f"first {rows}" if event.is_sample else rows
        self._tabs.show_state(f"{words} · {100 * share:.0f} % learnt", _LEARNT_HELP)
        self._tabs.learning.show_template(event)
        self._tabs.xray.show_surveyed(event)
        self._tabs.show_panels(COLUMNS, LEARNING, XRAY)
        self._tabs.xray.ask_again()
        if not self._tabs.learning.is_editing:
            self._tabs.learning.ask_again()
        self.show_source(self._chosen)

    def _show_checks(self) -> None:
        data = self._context.draft.get_value("data")
        limits, surveyed = self._limits, self._surveyed
        facts = DataFacts()
        if limits is not None:
            is_plain = surveyed is not None and surveyed.template == "plain"
            facts = DataFacts(
                limits.longest_tokens, limits.context_tokens, limits.max_tokens, is_plain=is_plain
            )
        words = f"{surveyed.rows:,} rows" if surveyed is not None else "The rows"
        self._tabs.checks.show_findings(self._problems, data, facts, words)
        self._tabs.show_finding_count(count_findings(self._problems))
        self._tabs.show_panels(CHECKS)

    def _on_row_shown(self, purpose: str, row: RowShown) -> None:
        if purpose == _XRAY:
            if self._sought == (row.source, row.row):
                self._sought = None
            self._tabs.xray.show_row(row)
            if self._opens_next:
                self._opens_next = False
                self._on_correction_wanted()
        elif purpose == _LEARNING and not self._tabs.learning.is_editing:
            self._tabs.learning.show_row(row)
        elif purpose.startswith(_COLUMN):
            index = int(purpose.removeprefix(_COLUMN))
            # Behind the end of a short file the last row comes again.
            self._tabs.columns.show_result(index, row if row.row > index else None)

    def _on_failed(self, error: StudioError) -> None:
        self._tabs.show_state("")
        self._tabs.show_notice(error)
        if self._surveyed is None:
            self._way_out = "again"
            self._tabs.show_reason(
                "warning", error.message, error.remedy or "Please try again.", "Try again"
            )

    def _on_way_out_requested(self) -> None:
        if self._way_out == "again":
            self._looked = None
            self.refresh()
        elif self._way_out == "columns":
            self._on_columns_wanted(self._chosen)
        elif self._way_out:
            self.page_requested.emit(self._way_out)

    def _on_xray_row_wanted(self, rank: int, finding: str, by: str, side: str) -> None:
        if self._sought is not None:
            source, row = self._sought
            if self._surveyed is not None and not self._surveyed.is_sample:
                self._sought = None  # every row is read: it is there now, or never
            self._survey.show_row(_XRAY, source=source, row=row)
            return
        self._survey.show_row(_XRAY, rank, finding, cast(RowList, by), side=cast(RowSide, side))

    def _ask_listed(self, purpose: str, rank: int) -> None:
        finding, by, side = self._tabs.xray.listing
        self._survey.show_row(purpose, rank, finding, by, side=side)

    def _on_correction_wanted(self) -> None:
        row = self._tabs.xray.row
        if row is not None and row.count:
            self._corrector.open(row)

    def _on_check_correction_wanted(self, finding: str) -> None:
        self._opens_next = True
        self._on_rows_wanted(finding, 0)

    def _on_leave_out_toggled(self, mark: str, is_out: bool) -> None:
        marks = [one for one in self._context.draft.get_value("data.exclude") if one != mark]
        self._context.draft.set_value("data.exclude", [*marks, mark] if is_out else marks)

    def _on_remedy_chosen(self, changes: Mapping[str, Any]) -> None:
        self._context.draft.set_values(changes)

    def _on_rows_wanted(self, finding: str, rank: int) -> None:
        self._tabs.setCurrentIndex(XRAY)
        self._tabs.xray.choose_list(finding, rank)

    def _on_lead_chosen(self, place: str, position: int) -> None:
        if place == "columns":
            self._on_columns_wanted(position)
        elif place == "places":
            self._filler.open()
        elif place == "model":
            self.page_requested.emit(place)
        else:
            self._tabs.setCurrentIndex(LEARNING if place == "learning" else LENGTHS)

    def _on_columns_wanted(self, position: int) -> None:
        self._chosen = position
        self._tabs.setCurrentIndex(COLUMNS)
        self.refresh()
        self.show_source(position)

    def _on_layout_edited(self, format_key: str, columns: dict[str, str]) -> None:
        sources = self._context.draft.get_value("data.train")
        if self._chosen < len(sources):
            sources[self._chosen] |= {"format": format_key, "columns": columns}
            self._context.draft.set_value("data.train", sources)

    def _on_way_chosen(self, way: LayoutOption) -> None:
        sources = self._context.draft.get_value("data.train")
        if self._chosen < len(sources):
            changes: dict[str, Any] = {"format": way.format, "columns": dict(way.columns)}
            changes |= {"documents": way.documents} if way.documents else {}
            sources[self._chosen] |= changes
            self._context.draft.set_value("data.train", sources)

    def _on_template_saved(self, text: str) -> None:
        folder = self._context.home.folder / "templates"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = find_free_name(folder, text)
            write_atomically(path, text)
        except OSError as error:
            self._on_failed(StudioError(f"The template was not saved: {error.strerror}."))
            return
        except StudioError as error:
            self._on_failed(error)
            return
        self._tabs.learning.show_editing(is_editing=False)
        self._context.draft.set_value("data.template", str(path))


def find_free_name(folder: Path, text: str) -> Path:
    """Return the file in a folder that holds this template already, or the first free name."""
    number = 1
    while True:
        path = folder / f"template-{number}.jinja"
        if not path.exists() or path.read_text(encoding="utf-8") == text:
            return path
        number += 1
