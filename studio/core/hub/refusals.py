"""What the hub means when it says no, in words that say what to do."""

from __future__ import annotations

from studio.core.errors import NetworkFailed
from studio.core.hub.names import Repository, get_endpoint
from studio.core.network.fetch import Refused

HOW_TO_LOG_IN = (
    "Make an access token on huggingface.co/settings/tokens and save it: on the Settings page, or "
    "with the command hf auth login, or in the variable HF_TOKEN."
)


class HubRefused(NetworkFailed):
    """The hub refuses for a reason that the user can change.

    The codes are ``hub_not_found``, ``hub_revision_not_found``, ``hub_gated``, ``hub_token``.
    """

    code = "hub_refused"


def describe_refusal(
    error: Refused, repository: Repository | None, *, has_token: bool
) -> NetworkFailed:
    """Returns the error to raise (``from error``) when the hub answered with one."""
    code = error.headers.get("x-error-code", "")
    words = repository.words if repository is not None else "this"
    if code == "GatedRepo":
        return _describe_gate(repository, has_token=has_token)
    if code == "RevisionNotFound":
        return HubRefused(
            f"The hub has {words}, but not in the wanted version.",
            "Leave the revision out, or check it on the page of the repository.",
            code="hub_revision_not_found",
        )
    if code in ("EntryNotFound", "DisabledRepo"):
        return HubRefused(
            f"The hub no longer offers all files of {words}.",
            "Search again: it may have been moved or taken down.",
            code="hub_not_found",
        )
    if error.status == 401 and has_token and code != "RepoNotFound":
        return HubRefused(
            "The hub does not accept the saved access token.", HOW_TO_LOG_IN, code="hub_token"
        )
    # Without a token the hub says 401 of what does not exist, to keep private names secret.
    if error.status in (401, 403, 404):
        ending = "" if has_token else f" A private one needs your access token. {HOW_TO_LOG_IN}"
        return HubRefused(
            f"There is no {words.removeprefix('the ')} on the hub, or it is private.",
            f"Check the name.{ending}",
            code="hub_not_found",
        )
    if error.status == 429:
        return NetworkFailed(
            "The hub wants fewer questions at once.", "Wait a minute and try again."
        )
    return NetworkFailed(
        f"The hub answered with error {error.status}.", "Try again later; what has arrived is kept."
    )


def _describe_gate(repository: Repository | None, *, has_token: bool) -> HubRefused:
    if repository is None:
        return HubRefused("The hub wants an access token.", HOW_TO_LOG_IN, code="hub_gated")
    page = f"{get_endpoint()}/{repository.web_path}"
    first = f"{repository.words[0].upper()}{repository.words[1:]}"
    if has_token:
        return HubRefused(
            f"{first} is only given to those who accepted its conditions, and your account has "
            "not been let in.",
            f"Open {page}, accept the conditions (some owners answer by hand), then try again.",
            code="hub_gated",
        )
    return HubRefused(
        f"{first} is only given to those who accepted its conditions.",
        f"Open {page}, log in and accept them. {HOW_TO_LOG_IN}",
        code="hub_gated",
    )
