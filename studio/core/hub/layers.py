"""What a model of the hub is made of, before it is downloaded: headers alone, by parts of files."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from studio.core.errors import ModelUnusable
from studio.core.hub.client import HubDetails, build_file_url, describe
from studio.core.hub.names import Repository, find_repository
from studio.core.hub.refusals import describe_refusal
from studio.core.hub.token import find_token
from studio.core.network.fetch import Cancelled, Refused, open_stream
from studio.core.network.gate import Gate
from studio.core.weights.layers import ModelLayers
from studio.core.weights.remote import load_remote_layers

_KEPT = 8
_Known = tuple[ModelLayers, dict[str, Any]]


class HubLayers:
    """Asks the hub for the layers of models; what was read once is kept while the program runs."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._known: OrderedDict[tuple[str, str | None], _Known] = OrderedDict()

    def can_ask(self, model: str) -> bool:
        """Return whether the network may be used and ``model`` can be a name on the hub."""
        repository = find_repository(model, "model")
        return self._gate.is_open and repository is not None and repository.kind == "model"

    def load(
        self,
        model: str,
        revision: str | None = None,
        *,
        is_cancelled: Cancelled = lambda: False,
    ) -> _Known:
        """Return the layers and the configuration of a model named ``owner/name``.

        Raises:
            ModelUnusable: It cannot be the name of a model, or its files are broken.
            Offline: The gate is closed.
            NetworkFailed: The hub was not reached, or refused.
        """
        key = (model, revision)
        if key not in self._known:
            repository = find_repository(model, "model")
            if repository is None or repository.kind != "model":
                raise ModelUnusable(
                    f"There is no model {model} on this machine.",
                    "Choose a model folder, or the name of a model on the hub (owner/name).",
                )
            self._gate.check(f"look at the model {model}")
            details = describe(self._gate, repository, revision, is_cancelled=is_cancelled)
            self._known[key] = _read(self._gate, repository, details, is_cancelled)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return self._known[key]


def _read(
    gate: Gate, repository: Repository, details: HubDetails, is_cancelled: Cancelled
) -> _Known:
    token = find_token()

    def read(name: str, start: int, size: int) -> bytes:
        url = build_file_url(repository, details.commit, name)
        wish = f"look at {repository.words}"
        found = bytearray()
        try:
            with open_stream(
                gate, url, wish, start=start, size_bytes=size, token=token,
                is_cancelled=is_cancelled,
            ) as stream:  # fmt: skip
                skipped = start - stream.start
                for piece in stream.pieces:
                    found += piece
                    if len(found) >= skipped + size:
                        break
        except Refused as error:
            raise describe_refusal(error, repository, has_token=token is not None) from error
        return bytes(found[skipped : skipped + size])

    sizes = {file.path: file.size_bytes for file in details.files}
    return load_remote_layers(repository.name, sizes, read)
