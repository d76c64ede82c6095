"""What it means for an export that its adapter was trained over a base in fewer bits."""

from __future__ import annotations

from studio.core.errors import AdapterUnusable
from studio.core.events.types import NoticeRaised
from studio.core.weights.adapter_file import SeenBase
from studio.core.weights.quantisable import QUANTISATION_NAMES
from studio.core.weights.stored import STORED_WORDS, StoredKind
from studio.engine.lora.stored import StoredAdapter


def check_original_fits(stored: StoredAdapter) -> None:
    """Returns quietly when the adapter may be joined with the original weights of its base.

    Raises:
        AdapterUnusable: It is right on the quantised base alone (LoftQ).
    """
    if stored.seen.has_residual:
        name = QUANTISATION_NAMES[stored.seen.quantisation]
        raise AdapterUnusable(
            f"The adapter in {stored.folder} was started with LoftQ over a base held in {name}: "
            "it also makes up for what that took from the weights. The original weights still "
            "hold all of it, so joined with them the adapter would answer wrongly.",
            "Merge it onto the weights as they were in training, export the adapter alone and use "
            f"it over the base held in {name}, or train again with another start than LoftQ "
            "(adapter.init).",
        )


def check_was_held(stored: StoredAdapter) -> None:
    """Returns quietly when the training saw its base in fewer bits.

    Raises:
        AdapterUnusable: It saw the original weights.
    """
    if stored.seen.quantisation == "none":
        raise AdapterUnusable(
            f"The adapter in {stored.folder} was not trained over a base in fewer bits (or its "
            "file does not say so): there are no other weights than the original ones to join it "
            "with.",
            "Join it with the original weights.",
        )


def find_needed_base(seen: SeenBase) -> list[NoticeRaised]:
    """Returns the warning that goes with an adapter that is not right on every copy of its base."""
    if seen.keeps_zeros:
        return [
            NoticeRaised(
                severity="warning",
                code="export_keeps_zeros",
                message="This adapter was trained to leave the zeros of its pruned base alone. "
                "LoRA Studio does so wherever it loads it; PEFT and other tools do not, and would "
                "answer differently.",
                remedy="For other tools, export the merged model: it is as sparse as its base.",
            )
        ]
    if not seen.has_residual:
        return []
    name = QUANTISATION_NAMES[seen.quantisation]
    return [
        NoticeRaised(
            severity="warning",
            code="export_needs_quantised_base",
            message=f"This adapter was started with LoftQ over a base held in {name}. It is right "
            "only over the base quantised as in training, and wrong over the original weights.",
            remedy=f"Load the base in {name} wherever you use the adapter, or merge it onto the "
            "weights as they were in training.",
        )
    ]


def describe_held_check(quantisation: str) -> str:
    """Returns that the base was held in fewer bits while the adapter was checked, in words."""
    return f"the base was held in {QUANTISATION_NAMES[quantisation]}, as in training"


def describe_both_bases(quantisation: str, original: float | None, dequantised: float) -> str:
    """Returns what joining with either base changes; nats, mean over all tokens of the answers.

    ``original`` None: it would be wrong there (LoftQ).
    """
    other = "it would be wrong" if original is None else f"it would be {original:.2g}"
    return (
        f"the adapter was trained over the base held in {QUANTISATION_NAMES[quantisation]}, and "
        "these files join it with the values that the weights had there: rounding them to the "
        f"number format of the base changes its answers by {dequantised:.2g} nats per token; "
        f"joined with the original weights {other}"
    )


def describe_unpacked(kind: StoredKind) -> str:
    """Returns that the base comes in few bits, and what became of it in the files."""
    return (
        f"the files of the base hold its weights in {STORED_WORDS[kind]}; these files hold what "
        "they unfold to, which is what the adapter was trained over"
    )


def describe_other_base(quantisation: str, divergence: float, dequantised: float) -> str:
    """Returns that the files build on other weights than the training, and what that changes.

    Divergences are means over all tokens of the answers, in nats: that of these files, and what
    it would be if they were joined with the weights that the training saw.
    """
    return (
        f"the adapter was trained over the base held in {QUANTISATION_NAMES[quantisation]}, but "
        "these files join it with the original weights; that changes its answers by "
        f"{divergence:.2g} nats per token (joined with the weights as training saw them: "
        f"{dequantised:.2g})"
    )
