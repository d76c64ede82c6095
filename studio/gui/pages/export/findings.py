"""What the checks say about a choice of tool and file, and what the remedies have settled."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from studio.core.events.types import ExportChecked, ExportFinding
from studio.core.jobs.remedies import REMEDIES, VLLM_RANK
from studio.gui.pages.export.tools import Tool
from studio.gui.widgets.labels import ChipKind


@dataclass(frozen=True)
class State:
    """The word on the card of a tool, and its colour."""

    words: str
    kind: ChipKind = "plain"


def list_open(
    checked: ExportChecked | None, tool: Tool, target: str, applied: Collection[str] = ()
) -> list[ExportFinding]:
    """Returns what still speaks against files of this kind for the tool."""
    if checked is None:
        return []
    found: dict[str, ExportFinding] = {}
    for finding in checked.findings:
        # What holds everywhere is said once per tool; a tool of its own checks is one of those.
        is_meant = finding.tool == tool.checked_as if tool.checked_as else finding.is_general
        if is_meant and finding.target == target and not _is_settled(finding, applied):
            found.setdefault(f"{finding.code} {finding.message}", finding)
    return list(found.values())


def get_state(checked: ExportChecked | None, tool: Tool, *, is_checking: bool) -> State:
    """Returns the word for a tool's card: the best of its kinds of files counts."""
    if not tool.checked_as:
        kinds = [list_open(checked, tool, form.target) for form in tool.forms]
        is_stuck = all(any(one.is_fatal for one in findings) for findings in kinds)
        return State("Needs a change", "warning") if is_stuck else State("")
    if checked is None:
        return State("Checking…") if is_checking else State("")
    kinds = [list_open(checked, tool, form.target) for form in tool.forms]
    if any(not findings for findings in kinds):
        first = "" if not kinds[0] else f" as {tool.forms[_find_free(kinds)].words.lower()}"
        return State(f"Fits{first}", "success")
    if any(all(not one.is_fatal for one in findings) for findings in kinds):
        return State("Fits, with a note", "accent")
    return State("Needs a change", "warning")


def describe_applied(name: str, checked: ExportChecked | None) -> str:
    """Returns what a remedy will do to the export, with its price where that is known."""
    remedy = REMEDIES[name]
    if not remedy.shrinks or checked is None or VLLM_RANK not in checked.losses:
        return f"{remedy.words}. {remedy.help}"
    return (
        f"Shrinks from rank {checked.rank} to {VLLM_RANK}: {checked.losses[VLLM_RANK]:.1%} of the "
        "update is lost. The certificate says what that changes in the answers."
    )


def describe_price(name: str, checked: ExportChecked | None) -> str:
    """Returns the words of a remedy's button."""
    remedy = REMEDIES[name]
    if remedy.shrinks and checked is not None and VLLM_RANK in checked.losses:
        return f"{remedy.words} (loses {checked.losses[VLLM_RANK]:.1%})"
    return remedy.words


def _find_free(kinds: Sequence[Sequence[ExportFinding]]) -> int:
    return next(place for place, findings in enumerate(kinds) if not findings)


def _is_settled(finding: ExportFinding, applied: Collection[str]) -> bool:
    if finding.code == "peft_experts" and "single_experts" in applied:
        return True  # one by one, they are ordinary layers for any PEFT
    drops = [name for name in finding.remedies if REMEDIES[name].drops is not None]
    if drops and all(name in applied for name in drops):
        return True
    return any(
        name in applied
        and (REMEDIES[name].shrinks or REMEDIES[name].folds or REMEDIES[name].onto is not None)
        for name in finding.remedies
    )
