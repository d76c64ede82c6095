"""Mixes of adapters that answer in a chat before anything of them is saved."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

from studio.core.jobs.orders import BlendSettings
from studio.core.paths import slug
from studio.engine.infer.session import ChatSession
from studio.engine.lora.blend import BlendedModule, Mix, compute_error_fraction, iter_blended
from studio.engine.lora.blended import write_blended
from studio.engine.lora.stored import StoredAdapter, read_adapter


class LiveBlends:
    """Loads mixes as columns of a session; ``folder`` holds what is needed for a moment.

    Adapters are read once and kept, so that a moved fader costs only the mixing.
    """

    def __init__(self, session: ChatSession, folder: Path) -> None:
        self._session = session
        self._folder = folder
        self._read: dict[str, StoredAdapter] = {}

    def show(
        self, column: str, blend: BlendSettings, check: Callable[[], None]
    ) -> tuple[int, dict[int, float]]:
        """Lets ``column`` answer as the mix; calls ``check`` between layers, which may raise.

        The column stays what it was if the mix is impossible. Returns its rank, and by rank
        what is lost as a share of the whole update: by its own, and by others where that is known.

        Raises:
            StudioError: An adapter cannot be used or mixed.
        """
        adapters = [self._get(part.adapter) for part in blend.parts]
        self._read = {part.adapter: self._read[part.adapter] for part in blend.parts}
        mix = Mix(blend.method, blend.rank, blend.density, blend.seed)
        weights = [part.weight for part in blend.parts]
        modules: dict[str, BlendedModule] = {}
        for name, module in iter_blended(
            adapters, weights, mix, [part.gains for part in blend.parts]
        ):
            check()
            modules[name] = module
        place = self._folder / slug(column)
        shutil.rmtree(place, ignore_errors=True)
        try:
            write_blended(modules, adapters[0], place)
            if column in self._session.columns:
                self._session.remove_adapter(column)
            self._session.add_adapters({column: place})
        finally:
            shutil.rmtree(place, ignore_errors=True)
        return _measure_errors(modules)

    def _get(self, adapter: str) -> StoredAdapter:
        if adapter not in self._read:
            # Copied: what is read is the file itself, which Windows would let nobody replace.
            self._read[adapter] = copy.deepcopy(read_adapter(Path(adapter)))
        return self._read[adapter]


def _measure_errors(modules: dict[str, BlendedModule]) -> tuple[int, dict[int, float]]:
    own = max(module.lora_a.shape[0] for module in modules.values())
    most = max(len(module.values) for module in modules.values())
    errors = {
        2**power: compute_error_fraction(modules.values(), 2**power)
        for power in range(most.bit_length())
        if 2**power < most
    }
    return own, dict(sorted((errors | {own: compute_error_fraction(modules.values())}).items()))
