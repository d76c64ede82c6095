"""Between the draft and what is shown of its memory and time: forecasts, advice, dry runs."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal

from studio.core.errors import RecipeInvalid, StudioError
from studio.core.memory.forecast import Forecast
from studio.core.recipe.load import parse_recipe
from studio.core.recipe.schema import Recipe
from studio.gui.bridge.dry_run import DryRunJob, Measured
from studio.gui.bridge.forecaster import Forecaster
from studio.gui.context import Context
from studio.gui.forms.draft import Draft
from studio.gui.pages.recipe.advice_card import AdviceCard
from studio.gui.pages.recipe.measure_box import MeasureBox
from studio.gui.pages.recipe.memory_card import MemoryCard
from studio.gui.pages.recipe.summary import describe_problem

_STAND_IN = "no data is chosen yet"
_BUDGET_KEY = "memory_budget_gib"
_LOOK_AGAIN_MS = 4000
_NO_MODEL = "Choose a base model to see how much memory and time training will take."
_MEND_FIRST = "Mend the settings that are marked first."


class Outlook(QObject):
    """Follows the draft while the page is shown.

    Signals:
        changes_chosen: New values of the draft by dotted path, as a mapping.
        layers_known: The name of a model and its ``ModelLayers``, also of one on the hub.
    """

    changes_chosen = Signal(object)
    layers_known = Signal(str, object)

    def __init__(
        self, context: Context, card: MemoryCard, advice: AdviceCard, measure: MeasureBox
    ) -> None:
        super().__init__(card)
        self._draft, self._preferences = context.draft, context.preferences
        self._card, self._advice, self._measure = card, advice, measure
        self._forecaster = Forecaster(context.background, context.home, context.gate, self)
        self._dry_run = DryRunJob(context.feed, context.background, context.home, self)
        self._clock = QTimer(self)
        self._clock.setInterval(_LOOK_AGAIN_MS)
        self._clock.timeout.connect(self._forecaster.look_at_device)
        self._connect()
        gib = int(self._preferences.get_number(_BUDGET_KEY, 0))
        self._card.show_budget(gib)
        self._forecaster.choose_budget(gib or None)

    def follow(self) -> None:
        """Forecasts the draft as it is now."""
        recipe = self._draft.recipe
        self._measure.show_possible(recipe is not None)
        if recipe is None:
            recipe = find_recipe_without_data(self._draft)
        if recipe is None:
            self._forecaster.forget()
            has_model = bool(self._draft.get_value("base.model"))
            self._show_unknown(_MEND_FIRST if has_model else _NO_MODEL)
            return
        self._forecaster.show_recipe(recipe, self._draft.base_folder)

    def watch(self, *, is_shown: bool) -> None:
        """Keeps an eye on the free memory while the page is shown; files may have changed too."""
        if is_shown:
            self._forecaster.read_again()
            self._clock.start()
        else:
            self._clock.stop()

    def _connect(self) -> None:
        forecaster, dry_run = self._forecaster, self._dry_run
        self._card.budget_chosen.connect(self._on_budget_chosen)
        self._advice.changes_chosen.connect(self.changes_chosen)
        self._measure.start_requested.connect(self._on_start_requested)
        self._measure.stop_requested.connect(dry_run.stop)
        forecaster.forecast_made.connect(self._on_forecast_made)
        forecaster.advice_found.connect(self._advice.show_advice)
        forecaster.device_seen.connect(self._card.show_computer)
        forecaster.reading_started.connect(
            lambda: self._show_unknown("Reading the model and the data …")
        )
        forecaster.failed.connect(lambda error: self._show_unknown(describe_failure(error)))
        dry_run.progressed.connect(self._measure.show_progress)
        dry_run.stopped.connect(self._measure.show_idle)
        dry_run.failed.connect(self._on_measuring_failed)
        dry_run.measured.connect(self._on_measured)

    def _show_unknown(self, reason: str) -> None:
        self._card.show_unknown(reason)
        self._advice.hide()

    def _on_forecast_made(self, forecast: Forecast) -> None:
        question = forecast.question
        self.layers_known.emit(question.recipe.base.model, question.anatomy.layers)
        self._card.show_forecast(forecast)
        self._advice.show_forecast(forecast)

    def _on_budget_chosen(self, gib: int) -> None:
        self._preferences.keep(_BUDGET_KEY, gib)
        self._forecaster.choose_budget(gib or None)

    def _on_start_requested(self) -> None:
        forecast, recipe = self._forecaster.build_forecast_here(), self._draft.recipe
        if forecast is not None and recipe is not None:
            self._dry_run.start(recipe, self._draft.base_folder, forecast)

    def _on_measured(self, measured: Measured) -> None:
        self._measure.show_result(measured)
        self._forecaster.learn_rows(measured.forecast.question.recipe, measured.rows)

    def _on_measuring_failed(self, error: StudioError) -> None:
        if error.code == "out_of_memory":
            error = StudioError(
                "It does not fit: the dry run ran out of memory.",
                "Choose another way of saving memory, or a smaller model.",
                code=error.code,
            )
        self._measure.show_error(error)


def describe_failure(error: StudioError) -> str:
    """Return why nothing is forecast; settings are called what they are called on the page."""
    if isinstance(error, RecipeInvalid) and error.problems:
        return " ".join(describe_problem(problem) for problem in error.problems)
    return str(error)


def find_recipe_without_data(draft: Draft) -> Recipe | None:
    """Return the draft with a stand-in for data not chosen yet; None if more is missing."""
    if not draft.problems or any(problem.path != "data.train" for problem in draft.problems):
        return None
    values = draft.get_values()
    values["data"]["train"] = [{"source": _STAND_IN}]
    try:
        return parse_recipe(values)
    except RecipeInvalid:
        return None
