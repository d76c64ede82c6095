"""Ollama's own HTTP interface: make a model of a GGUF file, and ask it once."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.core.errors import FileUnusable, NetworkFailed, RecipeInvalid
from studio.core.files import get_file_error
from studio.core.json_text import parse_json
from studio.core.network.fetch import Cancelled, FetchCancelled
from studio.core.network.gate import Gate
from studio.core.network.local_server import (
    LocalServer,
    ServerRefused,
    ServerSilent,
    clean_address,
)
from studio.core.programs.exported import Sample

DEFAULT_ADDRESS = "http://127.0.0.1:11434"
ADDRESS_SETTING = "ollama_address"
"""Name of the preference that holds the address; empty means where Ollama usually is."""

MODELFILE_NAME = "Modelfile"
_NAME = re.compile(r"^(\w[\w.-]{0,79}/)?\w[\w.-]{0,79}(:[\w.-]{1,80})?$", re.ASCII)
_TEMPLATE = re.compile(r'^TEMPLATE """(.*?)"""$', re.DOTALL | re.MULTILINE)
_BLOCK_BYTES = 4 << 20
_QUICK_SECONDS, _ANSWER_SECONDS = 3.0, 600.0


@dataclass(frozen=True)
class ModelfileParts:
    """What a Modelfile says: its GGUF file, template and parameters (stops are a list)."""

    file: str
    template: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Spoken:
    """What the server answered to one question, and how many tokens it read for it."""

    text: str
    read_tokens: int | None


def find_address(preference: str, environment: Mapping[str, str] | None = None) -> str:
    """Returns where Ollama is: as set here, else as ``OLLAMA_HOST`` says, else its usual place.

    Raises:
        RecipeInvalid: What is set is no address.
    """
    env = os.environ if environment is None else environment
    return clean_address(
        preference.strip() or env.get("OLLAMA_HOST", "").strip() or DEFAULT_ADDRESS
    )


def check_name(name: str) -> str:
    """Returns the name of a model as Ollama lists it, with its tag.

    Raises:
        RecipeInvalid: Ollama does not take such a name.
    """
    if not _NAME.match(name):
        raise RecipeInvalid(
            f"{name!r} is no name for a model in Ollama.",
            "Use letters, digits, dots, hyphens and underscores, such as pirate or pirate:v2.",
            code="name_invalid",
        )
    return name if ":" in name else f"{name}:latest"


def read_modelfile(folder: Path) -> ModelfileParts:
    """Returns what the Modelfile in an exported folder says.

    Raises:
        FileUnusable: It is missing, cannot be read, or names no file beside it.
    """
    path = folder / MODELFILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error if isinstance(error, OSError) else OSError(str(error))
        raise get_file_error(path, reason, "read") from error
    template = _TEMPLATE.search(text)
    rest = _TEMPLATE.sub("", text)
    file = ""
    parameters: dict[str, Any] = {}
    for line in rest.splitlines():
        word, _, value = line.partition(" ")
        if word == "FROM":
            file = value.strip().removeprefix("./")
        elif word == "PARAMETER":
            key, _, stated = value.strip().partition(" ")
            _add_parameter(parameters, key, _read_value(stated))
    if not file or Path(file).name != file or not (folder / file).is_file():
        raise FileUnusable(f"{path} names no GGUF file beside it.", "Export for Ollama again.")
    return ModelfileParts(file, template[1] if template else "", parameters)


class OllamaServer:
    """One Ollama server; the address may be anything that ``clean_address`` takes.

    Raises:
        Offline: The server is another machine, and the gate is closed.
    """

    def __init__(self, gate: Gate, address: str = DEFAULT_ADDRESS) -> None:
        self._server = LocalServer(gate, address, "ask an Ollama server on another machine")

    @property
    def address(self) -> str:
        """Where it is."""
        return self._server.address

    def get_version(self) -> str:
        """Returns the version of the server.

        Raises:
            NetworkFailed: Nobody answers, or somebody else does.
        """
        content = self._ask("GET", "/api/version", timeout_seconds=_QUICK_SECONDS)
        version = content.get("version") if isinstance(content, dict) else None
        if not isinstance(version, str):
            raise NetworkFailed(
                f"Something answers at {self.address}, but it is not Ollama.",
                "Check the address of Ollama on the Settings page.",
                code="not_ollama",
            )
        return version[:40]

    def list_names(self) -> list[str]:
        """Returns the names of the models there are."""
        content = self._ask("GET", "/api/tags")
        models = content.get("models") if isinstance(content, dict) else None
        return [str(one.get("name", "")) for one in models or () if isinstance(one, dict)]

    def create(
        self,
        name: str,
        folder: Path,
        *,
        replaces: bool = False,
        is_cancelled: Cancelled = lambda: False,
    ) -> Generator[tuple[str, int, int], None, str]:
        """Makes the model of an exported folder; returns its name with the tag.

        Yields:
            What is going on in words, bytes done, bytes in total (0: nobody knows).

        Raises:
            FileUnusable: The folder is no export for Ollama.
            NetworkFailed: Nobody answers, or the server refuses; it says why.
            RecipeInvalid: The name is taken or impossible.
        """
        full = check_name(name)
        recipe = read_modelfile(folder)
        self.get_version()
        if not replaces and full.lower() in (known.lower() for known in self.list_names()):
            raise RecipeInvalid(
                f"Ollama has a model named {full} already.",
                "Choose another name, or say that it may be replaced.",
                code="name_taken",
            )
        path = folder / recipe.file
        size = path.stat().st_size
        digest = yield from _hash(path, size, is_cancelled)
        blob = f"/api/blobs/{digest}"
        if not self._server.has(blob):
            done = 0
            for sent in self._server.upload(blob, path, is_cancelled):
                done += sent
                yield "Copying the file into Ollama", done, size
        content = {"model": full, "files": {recipe.file: digest}, "stream": True}
        if recipe.template:
            content["template"] = recipe.template
        if recipe.parameters:
            content["parameters"] = dict(recipe.parameters)
        yield from self._finish(full, content, is_cancelled)
        return full

    def ask_sample(
        self, name: str, sample: Sample, *, is_cancelled: Cancelled = lambda: False
    ) -> Spoken:
        """Returns the model's answer to one question, always choosing the likeliest token.

        Raises:
            NetworkFailed: The model cannot be loaded there, or nobody answers any more.
        """
        options = {"temperature": 0, "seed": 0, "num_predict": max(1, sample.answer_tokens)}
        content = {
            "model": name,
            "messages": [{"role": "user", "content": sample.question}],
            "stream": False,
            "options": options,
        }
        found = self._ask(
            "POST",
            "/api/chat",
            content,
            timeout_seconds=_ANSWER_SECONDS,
            is_cancelled=is_cancelled,
        )
        message = found.get("message") if isinstance(found, dict) else None
        said = message if isinstance(message, dict) else {}
        text = f"{said.get('thinking') or ''}{said.get('content') or ''}"
        count = found.get("prompt_eval_count") if isinstance(found, dict) else None
        return Spoken(text, count if isinstance(count, int) else None)

    def _finish(
        self, name: str, content: dict[str, Any], is_cancelled: Cancelled
    ) -> Generator[tuple[str, int, int], None, None]:
        status = ""
        try:
            for line in self._server.iter_lines("/api/create", content):
                if is_cancelled():
                    raise FetchCancelled("Cancelled.")
                if "error" in line:
                    raise ServerRefused(self.address, 500, str(line["error"])[:300])
                status = str(line.get("status", ""))[:200]
                yield f"Ollama: {status}", 0, 0
        except ServerRefused as refused:
            raise self._explain(refused) from refused
        if status != "success":
            raise NetworkFailed(
                f"Ollama ended without saying that {name} was made.",
                "Look into Ollama's own log, and try again.",
            )

    def _ask(self, *arguments: Any, **options: Any) -> Any:
        try:
            return self._server.ask(*arguments, **options)
        except ServerSilent as silent:
            raise ServerSilent(
                f"No Ollama server answers at {self.address}.",
                "Start Ollama (or run: ollama serve) and try again. Another address can be set on "
                "the Settings page.",
            ) from silent
        except ServerRefused as refused:
            raise self._explain(refused) from refused

    def _explain(self, refused: ServerRefused) -> NetworkFailed:
        words = refused.words or f"error {refused.status}"
        return NetworkFailed(
            f"Ollama refused: {words}.".replace("..", "."),
            "Update Ollama if it does not know this kind of model; its own log says more. The "
            "exported files are unharmed.",
            code="ollama_refused",
        )


def _hash(
    path: Path, size: int, is_cancelled: Cancelled
) -> Generator[tuple[str, int, int], None, str]:
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            if is_cancelled():
                raise FetchCancelled("Cancelled.")
            digest.update(block)
            done += len(block)
            yield "Reading the file", done, size
    return f"sha256:{digest.hexdigest()}"


def _add_parameter(parameters: dict[str, Any], key: str, value: Any) -> None:
    if key == "stop":
        parameters.setdefault("stop", []).append(str(value))
    else:
        parameters[key] = value


def _read_value(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return text
