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
        if value is not None and self._read(key) in ("auto", None):
            yield self._write(key, value, why)

    def overrule(self, key: str, value: str | int, why: str) -> Iterator[SettingResolved]:
        """Writes ``value`` to ``key``, whatever was chosen there.

        Yields:
            SettingResolved, once, if that changed anything.
        """
        if self._read(key) != value:
            yield self._write(key, value, why)

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

    def _read(self, key: str) -> object:
        section, _, name = key.partition(".")
        return getattr(getattr(self.recipe, section), name)

    def _write(self, key: str, value: str | int, why: str) -> SettingResolved:
        section, _, name = key.partition(".")
        changed = getattr(self.recipe, section).model_copy(update={name: value})
        self.recipe = self.recipe.model_copy(update={section: changed})
        return SettingResolved(key=key, value=str(value), why=why)
