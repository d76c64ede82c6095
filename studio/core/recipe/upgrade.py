"""Recipes of other versions of the format: older ones are brought up to date."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.core.errors import RecipeInvalid
from studio.core.recipe.problem import Problem, build_refusal
from studio.core.recipe.schema import FORMAT_VERSION


def upgrade_mapping(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a recipe in today's format; a missing version means today's.

    Raises:
        RecipeInvalid: The version is no number, or newer than this program.
    """
    version = raw.get("version", FORMAT_VERSION)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise _refuse(
            f"must be a whole number, the version of the recipe format, not {version!r}.",
            f"Write version: {FORMAT_VERSION}.",
        )
    if version > FORMAT_VERSION:
        raise _refuse(
            f"this recipe has format version {version}, and this program knows versions up to "
            f"{FORMAT_VERSION}.",
            "Update LoRA Studio, or make the recipe with this version.",
        )
    return {**raw, "version": FORMAT_VERSION}


def _refuse(message: str, remedy: str) -> RecipeInvalid:
    return build_refusal([Problem("version", message, remedy)])
