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
    """Returns the base model of a run as its recipe names it, or as its import found it.

    None where neither says it; the adapter's own settings may.
    """
    try:
        return load_recipe(layout.recipe).base.model
    except StudioError:
        pass
    try:
        order = load_order(layout)
    except StudioError:
        return None
    return order.base if isinstance(order, ImportOrder) else None


def find_base_folder(layout: RunLayout) -> str | None:
    """Returns where relative paths of the run's recipe start, if that is known."""
    try:
        order = load_order(layout)
    except StudioError:
        return None
    return order.base_folder if isinstance(order, TrainOrder | ImportOrder) else None
