"""All that is worth knowing about a repository before it is downloaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import StudioError
from studio.core.hub.choose import choose_files
from studio.core.hub.client import HubDetails, HubFile, build_file_url, describe
from studio.core.hub.names import Repository
from studio.core.hub.refusals import describe_refusal
from studio.core.hub.store import HubStore
from studio.core.hub.token import find_token
from studio.core.memory.anatomy import read_anatomy
from studio.core.memory.card import DeviceSpec, find_device
from studio.core.memory.forecast import build_forecast
from studio.core.memory.rows import assume_rows
from studio.core.network.fetch import Cancelled, Refused, fetch
from studio.core.network.gate import Gate
from studio.core.recipe.schema import Recipe
from studio.core.units import format_bytes
from studio.core.weights.layers import MAX_CONFIG_BYTES, build_layers
from studio.core.weights.shapes import build_tensors

ASSUMED_TOKENS = 1024
"""Length of an example for which the memory is forecast while no data is chosen."""


@dataclass(frozen=True)
class Fit:
    """Whether a model can be trained here: ``fits`` as it is, ``words`` say how much it takes."""

    fits: bool
    words: str


@dataclass(frozen=True)
class HubOffer:
    """What a download would bring.

    ``missing_bytes`` are still to come; the rest of ``total_bytes`` is here already. ``problem``
    says why it cannot be used at all, if so. ``fit`` is None where nobody can tell.
    """

    details: HubDetails
    files: tuple[HubFile, ...] = ()
    total_bytes: int = 0
    missing_bytes: int = 0
    folder: Path = Path()
    problem: StudioError | None = None
    fit: Fit | None = None

    @property
    def repository(self) -> Repository:
        """Which repository it is."""
        return self.details.entry.repository

    @property
    def is_here(self) -> bool:
        """Whether this version lies on this machine, entirely."""
        return bool(self.files) and self.missing_bytes == 0 and self.folder.is_dir()


def build_offer(
    gate: Gate,
    repository: Repository,
    only: str = "",
    *,
    is_cancelled: Cancelled = lambda: False,
) -> HubOffer:
    """Return what a download of the newest version would bring.

    Raises:
        Offline: The gate is closed.
        HubRefused: It does not exist, or the hub wants a token.
        NetworkFailed: The hub was not reached or did not answer.
    """
    details = describe(gate, repository, is_cancelled=is_cancelled)
    try:
        files = choose_files(details, only)
    except StudioError as problem:
        return HubOffer(details, problem=problem)
    store = HubStore(repository)
    fit = None
    if repository.kind == "model":
        config = _fetch_config(gate, details, is_cancelled)
        fit = None if config is None else judge_fit(repository.name, config, find_device())
    return HubOffer(
        details,
        files,
        total_bytes=sum(file.size_bytes for file in files),
        missing_bytes=store.measure_missing(files, details.commit),
        folder=store.get_snapshot(details.commit),
        fit=fit,
    )


def judge_fit(name: str, config: Mapping[str, Any], device: DeviceSpec) -> Fit | None:
    """Return whether a model of this config can be trained on ``device`` with usual settings.

    None where the family of models is not known.
    """
    recipe = Recipe.model_validate({"base": {"model": name}, "data": {"train": [{"source": name}]}})
    try:
        layers = build_layers(Path(name), config, build_tensors(config))
        anatomy = read_anatomy(layers, config)
        rows = assume_rows(ASSUMED_TOKENS)
        forecast = build_forecast(recipe, anatomy, device, rows, device.free_bytes)
    except StudioError:  # another family of models: the download is still worth it
        return None
    place = "this computer's memory" if device.is_cpu else device.name
    needed = f"about {format_bytes(forecast.ledger.total_bytes)}"
    free = f"{format_bytes(device.free_bytes)} are free in {place}"
    if forecast.fits:
        return Fit(True, f"Fits: training takes {needed}; {free}.")
    if forecast.advised_bytes is not None and forecast.advised_bytes <= device.free_bytes:
        less = format_bytes(forecast.advised_bytes)
        return Fit(
            True,
            f"Fits with other settings: {needed} as usual, {less} with what the Recipe page "
            f"advises; {free}.",
        )
    return Fit(False, f"Too large: training takes {needed}; {free}.")


def _fetch_config(
    gate: Gate, details: HubDetails, is_cancelled: Cancelled
) -> Mapping[str, Any] | None:
    """Return the model's config.json; None where it is missing, guarded or no JSON."""
    listed = any(file.path == "config.json" for file in details.files)
    if not listed:
        return None
    repository = details.entry.repository
    url = build_file_url(repository, details.commit, "config.json")
    token = find_token()
    try:
        reply = fetch(
            gate,
            url,
            f"look at {repository.words}",
            token=token,
            is_cancelled=is_cancelled,
            largest_bytes=MAX_CONFIG_BYTES,
        )
        config = json.loads(reply.content)
    except Refused as error:
        refusal = describe_refusal(error, repository, has_token=token is not None)
        if refusal.code == "hub_gated":
            return None
        raise refusal from error
    except (ValueError, RecursionError):
        return None
    return config if isinstance(config, dict) else None
