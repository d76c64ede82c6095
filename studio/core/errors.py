"""Errors that tell a person what happened, why, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studio.core.recipe.problem import Problem


class StudioError(Exception):
    """An expected failure: shown to people in words, never as a traceback.

    Code branches on the class or on ``code``, never on the text.
    """

    code = "failed"

    def __init__(self, message: str, remedy: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.remedy, self.code), self.__dict__


def _rebuild(kind: type[StudioError], message: str, remedy: str, code: str) -> StudioError:
    error = kind.__new__(kind)
    StudioError.__init__(error, message, remedy, code=code)
    return error


class RecipeInvalid(StudioError):
    """A recipe or an argument breaks a rule; nothing was started.

    ``problems`` holds every broken rule with the key it belongs to, where there are several.
    """

    code = "recipe_invalid"
    problems: tuple[Problem, ...] = ()


class NotAvailableYet(RecipeInvalid):
    """A value that the recipe format knows and this version of the engine does not."""

    code = "not_available_yet"


class FileUnusable(StudioError):
    """A file or folder is missing, unreadable, not writable, or not what it should be."""

    code = "file_unusable"


class DiskFull(FileUnusable):
    """Writing failed because no space is left; what was there before is untouched."""

    code = "disk_full"


class CheckpointDamaged(FileUnusable):
    """A checkpoint of a run is no longer what was saved."""

    code = "checkpoint_damaged"


class DatasetInvalid(StudioError):
    """Training data cannot be read or would teach nothing."""

    code = "dataset_invalid"


class ModelUnusable(StudioError):
    """A base model folder cannot be loaded safely."""

    code = "model_unusable"


class AdapterUnusable(StudioError):
    """An adapter does not belong to the base model, or holds something we do not support."""

    code = "adapter_unusable"


class OutOfMemory(StudioError):
    """The device or the machine has too little memory for the settings."""

    code = "out_of_memory"


class RunConflict(StudioError):
    """Another process already owns the run, or the run is in a state that forbids the wish."""

    code = "run_conflict"


class JobDied(StudioError):
    """A child process ended without saying why (killed, crashed, machine restarted)."""

    code = "job_died"


class Offline(StudioError):
    """The network is needed for this, and the program was told to stay away from it."""

    code = "offline"


class NetworkFailed(StudioError):
    """A server was not reached, did not answer, refused, or broke off in the middle."""

    code = "network_failed"
