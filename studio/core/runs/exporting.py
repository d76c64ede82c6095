"""What the run behind an adapter adds to an export: how the model was spoken to, and its name."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from studio.core.errors import StudioError
from studio.core.jobs.orders import TrainOrder, order_type
from studio.core.recipe.load import load_recipe
from studio.core.runs.layout import RunLayout


def read_export_details(adapter: Path) -> dict[str, object]:
    """Returns fields of an ``ExportOrder``: template, prompts, and where relative paths start.

    An adapter that lies in no run directory adds nothing.
    """
    layout = RunLayout(adapter.parent)
    try:
        recipe = load_recipe(layout.recipe)
    except StudioError:
        return {}
    return {
        "template": recipe.data.template,
        "prompts": recipe.train.sample_prompts,
        "base_folder": _find_base_folder(layout),
    }


def _find_base_folder(layout: RunLayout) -> str | None:
    """Returns where relative paths of the run's recipe start, if the run was started here."""
    try:
        order = order_type.validate_json(layout.job.read_bytes())
    except (OSError, ValidationError):
        return None
    return order.base_folder if isinstance(order, TrainOrder) else None
