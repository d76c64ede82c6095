"""What the run behind an adapter adds to an export: its base, how it was spoken to, its name."""

from __future__ import annotations

from pathlib import Path

from studio.core.errors import StudioError
from studio.core.jobs.orders import ImportOrder, TrainOrder
from studio.core.recipe.load import load_recipe
from studio.core.runs.layout import RunLayout
from studio.core.runs.store import load_order


def read_export_details(adapter: Path) -> dict[str, object]:
    """Returns fields of an ``ExportOrder``: template, prompts, and where relative paths start.

    An adapter that lies in no run directory adds nothing, and neither does one without recipe.
    """
    layout = find_run(adapter)
    if layout is None:
        return {}
    try:
        recipe = load_recipe(layout.recipe)
    except StudioError:
        return {}
    return {
        "template": recipe.data.template,
        "prompts": recipe.train.sample_prompts,
        "base_folder": find_base_folder(layout),
    }


def find_run(adapter: Path) -> RunLayout | None:
    """Returns the run directory around an adapter or a checkpoint, None where there is none."""
    for folder in (adapter.parent, adapter.parent.parent):
        layout = RunLayout(folder)
        if layout.job.is_file() and adapter in (layout.adapter, layout.checkpoints / adapter.name):
            return layout
    return None


def find_base(layout: RunLayout) -> str | None:
    """Returns the base model of a run: chosen by the user, as in its recipe, or as imported.

    None where nothing says it; the adapter's own settings may.
    """
    order = _find_import(layout)
    if order is not None and order.chosen_base:
        return order.chosen_base
    try:
        return load_recipe(layout.recipe).base.model
    except StudioError:
        return None if order is None else order.base


def find_chosen_base(layout: RunLayout) -> str | None:
    """Returns the base that the user chose for an imported run; None where nobody was asked."""
    order = _find_import(layout)
    return None if order is None else order.chosen_base


def find_base_folder(layout: RunLayout) -> str | None:
    """Returns where relative paths of the run's recipe start, if that is known."""
    try:
        order = load_order(layout)
    except StudioError:
        return None
    return order.base_folder if isinstance(order, TrainOrder | ImportOrder) else None


def _find_import(layout: RunLayout) -> ImportOrder | None:
    try:
        order = load_order(layout)
    except StudioError:
        return None
    return order if isinstance(order, ImportOrder) else None
