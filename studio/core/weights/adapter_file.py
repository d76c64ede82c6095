"""What an adapter's file says about the base that the adapter saw while it was trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from studio.core.weights.header import read_header

WEIGHTS_NAME = "adapter_model.safetensors"
_QUANTISATION = "base_quantisation"
_RESIDUAL = "makes_up_for_quantisation"
_HASHES = "base_weights"
KEEPS_ZEROS = "keeps_zeros_of_base"
"""Named in the adapter's settings as well, where other tools say that they do not know it."""


@dataclass(frozen=True)
class SeenBase:
    """Which base it was, and how it was held in training: ``none``, ``nf4`` or ``int8``.

    ``has_residual``: the adapter began as what quantisation had taken from the weights (LoftQ), so
    that it is right on the quantised base alone. ``keeps_zeros``: the base was pruned, and the
    update of its linear layers counts only where their weights are not zero. ``hashes`` are those
    of the base's files of weights, by name; empty where nobody wrote them down.
    """

    quantisation: str = "none"
    has_residual: bool = False
    keeps_zeros: bool = False
    hashes: Mapping[str, str] = field(default_factory=dict)

    def as_metadata(self) -> dict[str, str]:
        """Return the notes to write into the adapter's file; other tools skip them."""
        notes = {_HASHES: json.dumps(dict(self.hashes), sort_keys=True)} if self.hashes else {}
        notes |= {KEEPS_ZEROS: "true"} if self.keeps_zeros else {}
        if self.quantisation == "none":
            return notes
        held = {_QUANTISATION: self.quantisation, _RESIDUAL: str(self.has_residual).lower()}
        return held | notes

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> SeenBase:
        """Return what the notes of an adapter's file say."""
        kind = metadata.get(_QUANTISATION, "none")
        known = kind if kind in ("nf4", "int8") else "none"
        has_residual = known != "none" and metadata.get(_RESIDUAL) == "true"
        keeps_zeros = metadata.get(KEEPS_ZEROS) == "true"
        return cls(known, has_residual, keeps_zeros, _read_hashes(metadata.get(_HASHES, "{}")))


def read_seen_base(adapter: Path) -> SeenBase:
    """Return what the adapter in the folder ``adapter`` was trained on.

    Raises:
        ModelUnusable: Its file is broken.
        FileUnusable: Its file is missing or cannot be read.
    """
    return SeenBase.from_metadata(read_header(adapter / WEIGHTS_NAME).metadata)


def _read_hashes(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}  # a note of somebody else
    pairs = found.items() if isinstance(found, dict) else ()
    return {name: value for name, value in pairs if isinstance(value, str)}
