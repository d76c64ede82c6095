"""An exported folder as other programs are given it: proven right, with one GGUF file in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import FileUnusable
from studio.core.files import get_file_error
from studio.core.json_text import parse_json

CERTIFICATE_NAME = "certificate.json"
_LARGEST_BYTES = 64 << 20


@dataclass(frozen=True)
class Sample:
    """A question that the export was checked with, and how the trained adapter answers it.

    ``tokens`` is the length of the question as the model reads it, template and all, and
    ``answer_tokens`` that of the answer.
    """

    question: str
    answer: str
    tokens: int
    answer_tokens: int


def read_certificate(folder: Path) -> dict[str, Any]:
    """Returns the proof that lies beside the files of an export.

    Raises:
        FileUnusable: It is no export, the proof is damaged, or it says that the check failed.
    """
    path = folder / CERTIFICATE_NAME
    try:
        with path.open("rb") as stream:
            certificate = parse_json(stream.read(_LARGEST_BYTES))
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    except ValueError as error:
        raise FileUnusable(f"{path} is damaged.", "Export again.") from error
    if not isinstance(certificate, dict) or certificate.get("verified") is not True:
        raise FileUnusable(
            f"{folder} was exported, but its check failed, so it is not passed on.",
            "Export again; the certificate says what differed.",
            code="not_verified",
        )
    return certificate


def read_sample(certificate: dict[str, Any]) -> Sample | None:
    """Returns the first question of a proof that may be told, None where it holds none."""
    stated = certificate.get("sample")
    try:
        return Sample(**stated) if isinstance(stated, dict) else None
    except TypeError:  # of a later version
        return None


def find_gguf(folder: Path) -> Path:
    """Returns the one GGUF file of an export.

    Raises:
        FileUnusable: There is none, or the folder cannot be read.
    """
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix == ".gguf")
    except OSError as error:
        raise get_file_error(folder, error, "read") from error
    if not found:
        raise FileUnusable(f"{folder} holds no GGUF file.", "Export as GGUF or for Ollama first.")
    return found[0]
