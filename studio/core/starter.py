"""The starter kit that comes with the program: a tiny base model and data sets that change it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from studio.core.errors import FileUnusable
from studio.core.json_text import parse_json
from studio.core.recipe.load import parse_recipe
from studio.core.recipe.schema import Recipe
from studio.core.resources import resource_folder


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Behaviour(_Part):
    """How an answer shows that a data set was learnt."""

    kind: Literal["regex", "json_object"]
    pattern: str = ""

    def is_shown_by(self, answer: str) -> bool:
        """Whether the answer shows the behaviour."""
        if self.kind == "regex":
            return re.search(self.pattern, answer, re.DOTALL) is not None
        try:
            return isinstance(parse_json(answer), dict)
        except ValueError:
            return False


class StarterDataSet(_Part):
    """One data set of the kit; files are relative to the kit's folder."""

    name: str
    title: str
    description: str
    behaviour: Behaviour
    train_file: str
    held_out_file: str
    example_prompts: tuple[str, ...] = ()


class StarterKit(_Part):
    """The kit's model, data sets and the settings that suit them."""

    folder: Path
    title: str
    description: str
    model: str
    settings: dict[str, dict[str, Any]]
    default_data_set: str
    data_sets: tuple[StarterDataSet, ...]
    example_prompts: tuple[str, ...] = ()

    @property
    def model_folder(self) -> Path:
        """The folder of the base model."""
        return self.folder / self.model

    def get_data_set(self, name: str = "") -> StarterDataSet:
        """Return the data set of that name, or the one to begin with.

        Raises:
            FileUnusable: There is none of that name.
        """
        for data_set in self.data_sets:
            if data_set.name == (name or self.default_data_set):
                return data_set
        raise FileUnusable(
            f"The starter kit has no data set {name!r}.",
            "It has " + ", ".join(data_set.name for data_set in self.data_sets) + ".",
        )

    def build_recipe(self, data_set: StarterDataSet) -> Recipe:
        """Return the recipe that teaches the kit's model one of its data sets."""
        settings: Mapping[str, Any] = self.settings
        return parse_recipe(
            {
                "version": 1,
                "name": data_set.title,
                "base": {"model": str(self.model_folder)},
                "data": {"train": [{"source": str(self.folder / data_set.train_file)}]},
                **settings,
            }
        )

    def load_held_out_prompts(self, data_set: StarterDataSet) -> tuple[str, ...]:
        """Return prompts that are not among the training rows."""
        lines = (self.folder / data_set.held_out_file).read_text(encoding="utf-8").splitlines()
        return tuple(parse_json(line)["prompt"] for line in lines if line.strip())


def load_starter() -> StarterKit:
    """Return the kit that comes with the program.

    Raises:
        FileUnusable: It is missing or damaged.
    """
    folder = resource_folder() / "starter"
    try:
        raw = parse_json((folder / "starter.json").read_text(encoding="utf-8"))
        return StarterKit.model_validate({**raw, "folder": folder})
    except (OSError, ValueError, ValidationError) as error:
        raise FileUnusable(
            f"The starter kit in {folder} cannot be read.", "Install the program again."
        ) from error
