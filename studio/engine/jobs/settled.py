"""The run's own recipe while its ``auto`` values become definite ones."""

from __future__ import annotations

from collections.abc import Iterator

from studio.core.events.types import SettingResolved
from studio.core.recipe.schema import Recipe


class SettledRecipe:
    """A recipe that is filled in value by value; ``recipe`` is how it stands now."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def settle(self, key: str, value: str | int | None, why: str) -> Iterator[SettingResolved]:
        """Writes ``value`` to ``key`` (``section.name``) if that was open: ``auto`` or empty.

        Yields:
            SettingResolved, once, if something was written.
        """
        section_name, _, name = key.partition(".")
        section = getattr(self.recipe, section_name)
        if value is None or getattr(section, name) not in ("auto", None):
            return
        changed = section.model_copy(update={name: value})
        self.recipe = self.recipe.model_copy(update={section_name: changed})
        yield SettingResolved(key=key, value=str(value), why=why)
