"""The hub's own library for uploads, let through the gate for the time of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from studio.core.errors import NetworkFailed, StudioError
from studio.core.hub.refusals import HOW_TO_LOG_IN, HubRefused
from studio.core.network.gate import Gate


@contextmanager
def open_hub_library(gate: Gate, wish: str) -> Iterator[Any]:
    """Yields ``huggingface_hub``, which may use the network inside the block only.

    Uploads have protocols of their own (large files, deduplicated storage), which that library
    speaks. ``wish`` says in words what the network is wanted for.

    Raises:
        Offline: The gate is closed.
        HubRefused: The access token must not do that.
        NetworkFailed: The hub was not reached, or refused.
    """
    gate.check(wish)
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = False
    try:
        yield huggingface_hub
    except StudioError:
        raise
    except HfHubHTTPError as error:
        raise _describe(error) from error
    except (OSError, RuntimeError, ValueError) as error:
        cause = error.__cause__ or error
        raise NetworkFailed(
            f"The upload broke off: {(str(cause).splitlines() or [repr(cause)])[0]}",
            "Nothing can be seen in the repository yet. Try again.",
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = before


def _describe(error: Any) -> NetworkFailed:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status in (401, 403):
        return HubRefused(
            "The hub does not let this access token write there.",
            f"The token needs the right to write, and the owner must be you or a group of yours. "
            f"{HOW_TO_LOG_IN}",
            code="hub_token",
        )
    return NetworkFailed(
        f"The hub refused the upload (error {status}).", "Check the name, and try again later."
    )
