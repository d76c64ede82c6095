"""The names inside a run directory, spelt here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunLayout:
    """Paths of one run directory; nothing is created by asking."""

    folder: Path

    @property
    def recipe(self) -> Path:
        """The frozen recipe of the run."""
        return self.folder / "recipe.yaml"

    @property
    def job(self) -> Path:
        """Which kind of job runs here and its arguments (JSON)."""
        return self.folder / "job.json"

    @property
    def manifest(self) -> Path:
        """Hashes of base, tokenizer and data, versions and seed (JSON)."""
        return self.folder / "manifest.json"

    @property
    def events(self) -> Path:
        """The append-only journal of facts."""
        return self.folder / "events.jsonl"

    @property
    def control(self) -> Path:
        """The append-only journal of requests to the job."""
        return self.folder / "control.jsonl"

    @property
    def snapshot(self) -> Path:
        """A saved fold of the journal, so that a long one opens at once."""
        return self.folder / "snapshot.json"

    @property
    def owner(self) -> Path:
        """Which process owns the run (JSON)."""
        return self.folder / "owner.json"

    @property
    def title(self) -> Path:
        """The display name and the time of creation (JSON)."""
        return self.folder / "title.json"

    @property
    def log(self) -> Path:
        """What the child process wrote on its error stream."""
        return self.folder / "log.txt"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.folder / "checkpoints"

    def checkpoint(self, step: int) -> Path:
        """The folder of the checkpoint after ``step`` optimizer steps."""
        return self.checkpoints / f"step-{step:07d}"

    @property
    def adapter(self) -> Path:
        """The finished (or best) adapter in PEFT format."""
        return self.folder / "adapter"

    @property
    def samples(self) -> Path:
        """The folder of sample answers."""
        return self.folder / "samples"


@dataclass(frozen=True)
class RowFiles:
    """Paths of what a run keeps about its single rows; see ``studio.core.microscope.files``."""

    folder: Path

    @property
    def origins(self) -> Path:
        """Which row of which file each document of the run is."""
        return self.folder / "row_origins.bin"

    @property
    def losses(self) -> Path:
        """What each document cost each time it was trained on."""
        return self.folder / "row_losses.bin"
