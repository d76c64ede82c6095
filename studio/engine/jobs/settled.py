"""The run's own recipe while its ``auto`` values become definite ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from studio.core.events.types import SettingResolved
from studio.core.hub.resolve import find_data_revision
from studio.core.recipe.schema import Recipe
from studio.core.recipe.schema_data import DataSource


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

    def pin_sources(self, base_folder: Path) -> Iterator[SettingResolved]:
        """Writes the version on this machine to every data set of the hub that names none.

        Yields:
            SettingResolved, once per such data set.

        Raises:
            FileUnusable: A data set is not on this machine.
        """
        data = self.recipe.data
        changes: dict[str, tuple[DataSource, ...]] = {}
        for name in ("train", "validation"):
            sources = getattr(data, name)
            if not isinstance(sources, tuple):
                continue
            pinned = []
            for index, source in enumerate(sources):
                commit = find_data_revision(source.source, base_folder, source.revision)
                if commit is None or commit == source.revision:
                    pinned.append(source)
                    continue
                pinned.append(source.model_copy(update={"revision": commit}))
                yield SettingResolved(
                    key=f"data.{name}[{index}].revision",
                    value=commit,
                    why="the version on this machine",
                )
            changes[name] = tuple(pinned)
        self.recipe = self.recipe.model_copy(update={"data": data.model_copy(update=changes)})
