"""What the recipe offers is there, and what is there is offered."""

from __future__ import annotations

import pytest

from studio.core.recipe.fields import get_field_table
from tests.contracts.source import ROOT

# A setting with fixed values -> the folder where each value is one file.
_FOLDERS = {
    "task": "studio/engine/tasks",
    "base.quantisation": "studio/engine/quant",
    "adapter.variant": "studio/engine/lora/variants",
    "adapter.init": "studio/engine/lora/inits",
    "train.optimizer": "studio/engine/train/optimizers",
}


def _list_files(folder: str) -> set[str]:
    return {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("path", _FOLDERS)
def test_each_available_value_of_the_recipe_is_one_file(path: str) -> None:
    choices = get_field_table()[path].choices
    assert _list_files(_FOLDERS[path]) == {c.value for c in choices if c.is_available}


def test_every_data_format_that_is_offered_can_be_read() -> None:
    engine_formats = (ROOT / "studio/engine/data/formats.py").read_text(encoding="utf-8")
    choices = get_field_table()["data.train[].format"].choices
    for choice in choices:
        if choice.is_available and choice.value != "auto":
            assert f'"{choice.value}"' in engine_formats


def test_every_setting_with_fixed_values_can_be_shown_and_its_default_used() -> None:
    for spec in get_field_table().values():
        assert spec.label
        assert spec.help
        if spec.choices and not spec.is_required:
            assert spec.is_available(spec.default), spec.path
        if spec.level == "essential" and spec.choices:
            assert all(choice.words for choice in spec.choices), spec.path
