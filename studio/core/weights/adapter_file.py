"""What an adapter's file says about the base that the adapter saw while it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from studio.core.weights.header import read_header

WEIGHTS_NAME = "adapter_model.safetensors"
_QUANTISATION = "base_quantisation"
_RESIDUAL = "makes_up_for_quantisation"
KEEPS_ZEROS = "keeps_zeros_of_base"
"""Named in the adapter's settings as well, where other tools say that they do not know it."""


@dataclass(frozen=True)
class SeenBase:
    """How the base was held in training: ``none``, ``nf4`` or ``int8``.

    ``has_residual``: the adapter began as what quantisation had taken from the weights (LoftQ), so
    that it is right on the quantised base alone. ``keeps_zeros``: the base was pruned, and the
    update of its linear layers counts only where their weights are not zero.
    """

    quantisation: str = "none"
    has_residual: bool = False
    keeps_zeros: bool = False

    def as_metadata(self) -> dict[str, str]:
        """Return the notes to write into the adapter's file; other tools skip them."""
        notes = {KEEPS_ZEROS: "true"} if self.keeps_zeros else {}
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
        return cls(known, has_residual, metadata.get(KEEPS_ZEROS) == "true")


def read_seen_base(adapter: Path) -> SeenBase:
    """Return what the adapter in the folder ``adapter`` was trained on.

    Raises:
        ModelUnusable: Its file is broken.
        FileUnusable: Its file is missing or cannot be read.
    """
    return SeenBase.from_metadata(read_header(adapter / WEIGHTS_NAME).metadata)
