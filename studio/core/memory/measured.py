"""What dry runs on this computer taught, remembered by device, model and way of computing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from studio.core.errors import FileUnusable
from studio.core.events.types import DryRunMeasured, Event, RowsCounted
from studio.core.files import write_atomically
from studio.core.memory.anatomy import Anatomy
from studio.core.memory.card import DeviceSpec
from studio.core.memory.ledger import Correction, Ledger, build_settled_ledger
from studio.core.memory.recomputing import Recomputing
from studio.core.memory.rows import RowLengths
from studio.core.memory.settled import Settled, choose_visits, get_number_bytes
from studio.core.memory.speed import count_token_flops
from studio.core.memory.weights import count_base_bytes
from studio.core.paths import Home
from studio.core.recipe.schema import Recipe

_LOWEST_FACTOR, _HIGHEST_FACTOR = 0.3, 4.0


class Measurement(BaseModel):
    """What a dry run saw. ``loaded_bytes`` was in use before the first step, with the weights.

    ``flops_per_second`` counts the operations of the forecast, so that forecast and measurement
    agree whatever was left out of the count.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="constants")
    device: str
    model: str
    loaded_bytes: int
    peak_bytes: int
    static_bytes: int
    working_bytes: int
    flops_per_second: float

    def build_correction(self) -> Correction:
        """Return how forecasts for this device and this kind of model are to be corrected."""
        overhead = max(0, self.loaded_bytes - self.static_bytes)
        grown = max(0, self.peak_bytes - self.loaded_bytes)
        factor = grown / self.working_bytes if self.working_bytes else 1.0
        return Correction(overhead, min(_HIGHEST_FACTOR, max(_LOWEST_FACTOR, factor)))


@dataclass(frozen=True)
class Measurements:
    """Everything that was measured on this computer, by the way of computing."""

    by_key: Mapping[str, Measurement] = field(default_factory=dict)

    @classmethod
    def load(cls, home: Home) -> Measurements:
        """Return what ``home`` remembers; a file that cannot be read counts as none."""
        found = {}
        for path in sorted(_get_folder(home).glob("*.json")):
            try:
                found[path.stem] = Measurement.model_validate_json(path.read_bytes())
            except (OSError, ValidationError):  # it can be measured again
                continue
        return cls(found)

    def find(
        self, device: DeviceSpec, anatomy: Anatomy, recipe: Recipe, ledger: Ledger
    ) -> Measurement | None:
        """Return what was measured on this device with such a model, or None."""
        found = self.by_key.get(_get_key(device.name, anatomy, recipe, ledger))
        if found is None or (found.device, found.model) != (device.name, anatomy.model_type):
            return None
        return found


class DryRun:
    """What the events of a measuring job told: the rows as they were counted, and the result."""

    def __init__(self) -> None:
        self.rows: RowLengths | None = None
        self.result: DryRunMeasured | None = None

    def take(self, event: Event) -> None:
        """Notes an event."""
        if isinstance(event, RowsCounted):
            self.rows = RowLengths(
                event.lengths, event.rows, event.mean_tokens, event.supervised_fraction
            )
        elif isinstance(event, DryRunMeasured):
            self.result = event


def learn(
    home: Home,
    recipe: Recipe,
    anatomy: Anatomy,
    device: DeviceSpec,
    rows: RowLengths,
    event: DryRunMeasured,
) -> Measurement:
    """Remember what a dry run of ``recipe`` measured; returns it beside the bare forecast.

    Raises:
        FileUnusable: The home folder is not writable.
    """
    number_bytes = get_number_bytes(event.dtype, device)
    base_bytes = count_base_bytes(anatomy, recipe.base.quantisation, number_bytes)
    settled = Settled(
        number_bytes=number_bytes,
        recomputing=Recomputing(*event.recomputing),
        micro_batch_tokens=event.micro_batch_tokens,
        max_tokens=rows.longest,
        documents=event.documents,
        supervised_tokens=event.supervised_tokens,
        rows=rows,
        offloads=recipe.train.checkpointing == "offload" and not device.is_cpu,
        visits=choose_visits(recipe, device, base_bytes),
    )
    chosen = anatomy.layers.choose(recipe.adapter)
    ledger = build_settled_ledger(recipe, anatomy, device, settled, chosen)
    sizes = ledger.bytes_by_part
    # What comes with the first step is no part of what was loaded.
    late = sizes["gradients"] + sizes["optimizer"]
    found = Measurement(
        device=device.name,
        model=anatomy.model_type,
        loaded_bytes=event.loaded_bytes,
        peak_bytes=max(event.loaded_bytes, event.peak_bytes - late),
        static_bytes=sizes["base"] + sizes["adapter"],
        working_bytes=ledger.working_bytes,
        flops_per_second=count_token_flops(anatomy, ledger) * event.tokens / event.seconds,
    )
    save_measurement(home, recipe, anatomy, ledger, found)
    return found


def save_measurement(
    home: Home, recipe: Recipe, anatomy: Anatomy, ledger: Ledger, found: Measurement
) -> None:
    """Remember ``found`` for recipes that compute in the same way.

    Raises:
        FileUnusable: The home folder is not writable.
    """
    key = _get_key(found.device, anatomy, recipe, ledger)
    path = _get_folder(home) / f"{key}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileUnusable(
            f"{path.parent} cannot be made: {error.strerror}.", "Choose another --home folder."
        ) from error
    write_atomically(path, found.model_dump_json(indent=2) + "\n")


def _get_folder(home: Home) -> Path:
    return home.cache / "measured"


def _get_key(device: str, anatomy: Anatomy, recipe: Recipe, ledger: Ledger) -> str:
    settled = ledger.settled
    words = (
        device,
        anatomy.model_type,
        anatomy.get_quantisation(recipe.base.quantisation),
        settled.number_bytes,
        settled.recomputing.strongest,
        settled.offloads,
        settled.visits,
        recipe.data.pack,
    )
    return hashlib.blake2b(repr(words).encode(), digest_size=12).hexdigest()
