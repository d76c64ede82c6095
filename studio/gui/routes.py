"""Every page of the window: its key, title, icon, number on the way, and how it is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from studio.gui.context import Context
from studio.gui.widgets.page import Page
from studio.gui.widgets.rail import RailEntry


@dataclass(frozen=True)
class Route:
    """One page; ``build`` imports and makes it when it is shown for the first time.

    Pages that share a line of the rail show tabs: ``under`` is the key of the page that has the
    line, empty for that page itself; ``tab`` are the words on the tab.
    """

    entry: RailEntry
    build: Callable[[Context], Page]
    under: str = ""
    tab: str = ""

    @property
    def rail_key(self) -> str:
        """The key of the line of the rail that is marked while the page is open."""
        return self.under or self.entry.key


def _build_home(context: Context) -> Page:
    from studio.gui.pages.home.page import HomePage

    return HomePage(context)


def _build_model(context: Context) -> Page:
    from studio.gui.pages.model.page import ModelPage

    return ModelPage(context)


def _build_data(context: Context) -> Page:
    from studio.gui.pages.data.page import DataPage

    return DataPage(context)


def _build_recipe(context: Context) -> Page:
    from studio.gui.pages.recipe.page import RecipePage

    return RecipePage(context)


def _build_train(context: Context) -> Page:
    from studio.gui.pages.train.page import TrainPage

    return TrainPage(context)


def _build_compare(context: Context) -> Page:
    from studio.gui.pages.compare.page import ComparePage

    return ComparePage(context)


def _build_evaluate(context: Context) -> Page:
    from studio.gui.pages.evaluate.page import EvaluatePage

    return EvaluatePage(context)


def _build_forgetting(context: Context) -> Page:
    from studio.gui.pages.forgetting.page import ForgettingPage

    return ForgettingPage(context)


def _build_inside(context: Context) -> Page:
    from studio.gui.pages.inside.page import InsidePage

    return InsidePage(context)


def _build_mix(context: Context) -> Page:
    from studio.gui.pages.mix.page import MixPage

    return MixPage(context)


def _build_export(context: Context) -> Page:
    from studio.gui.pages.export.page import ExportPage

    return ExportPage(context)


def _build_runs(context: Context) -> Page:
    from studio.gui.pages.runs.page import RunsPage

    return RunsPage(context)


def _build_settings(context: Context) -> Page:
    from studio.gui.pages.settings.page import SettingsPage

    return SettingsPage(context)


ROUTES: tuple[Route, ...] = (
    Route(RailEntry("home", "Home", "home"), _build_home),
    Route(RailEntry("model", "Model", "model", 1, starts_group=True), _build_model),
    Route(RailEntry("data", "Data", "data", 2), _build_data),
    Route(RailEntry("recipe", "Recipe", "recipe", 3), _build_recipe),
    Route(RailEntry("train", "Train", "train", 4), _build_train),
    Route(RailEntry("compare", "Compare", "compare", 5), _build_compare, tab="Answers"),
    Route(RailEntry("evaluate", "Evaluate", "compare"), _build_evaluate, under="compare"),
    Route(RailEntry("forgetting", "Forgetting", "compare"), _build_forgetting, under="compare"),
    Route(RailEntry("mix", "Mixing desk", "compare"), _build_mix, under="compare", tab="Mix"),
    Route(RailEntry("inside", "Look inside", "compare"), _build_inside, under="compare"),
    Route(RailEntry("export", "Export", "export", 6), _build_export),
    Route(RailEntry("runs", "Runs", "runs", starts_group=True), _build_runs),
    Route(RailEntry("settings", "Settings", "settings"), _build_settings),
)
