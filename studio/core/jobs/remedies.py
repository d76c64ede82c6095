"""What can be done about a finding before an export: the words of its button, and the new order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from studio.core.errors import RecipeInvalid
from studio.core.jobs.orders import ExportDrop, ExportOrder, ExportTarget, MergeBase

VLLM_RANK = 16
"""The highest rank of adapters that vLLM takes unless told otherwise."""

WHOLE_RANK = 1 << 20
"""More than any layer has: nothing is lost, and every layer gets the same scaling."""


@dataclass(frozen=True)
class Remedy:
    """Another kind of file, or parts of the adapter left out; ``help`` says what that costs.

    ``shrinks`` lowers the rank to ``VLLM_RANK``, ``folds`` writes all layers to one rule of
    scaling, ``onto`` is what the adapter is joined with instead.
    """

    words: str
    help: str
    target: ExportTarget | None = None
    drops: ExportDrop | None = None
    onto: MergeBase | None = None
    shrinks: bool = False
    folds: bool = False


REMEDIES: Mapping[str, Remedy] = {
    "merge": Remedy(
        "Merge into the model",
        "Writes base and adapter as one model. As large as the base, and nothing is lost.",
        target="merged",
    ),
    "merge_dequantised": Remedy(
        "Merge onto the weights of the training",
        "Joins the adapter with the rounded values that the base had in training, not with the "
        "original ones. The files are as large as otherwise and answer as the training did.",
        onto="dequantised",
    ),
    "merge_as_trained": Remedy(
        "Merge as in training",
        "Writes base and adapter as one model, joined over the rounded values that the base had in "
        "training. As large as the base, and it answers as the training did.",
        target="merged",
        onto="dequantised",
    ),
    "export_merged_gguf": Remedy(
        "Write the whole model as GGUF",
        "Base and adapter in one GGUF file, in the size of numbers that you choose.",
        target="gguf",
    ),
    "export_ollama": Remedy(
        "Export for Ollama",
        "A GGUF file and a Modelfile beside it that holds the chat template and the stops.",
        target="ollama",
    ),
    "export_adapter": Remedy(
        "Export the adapter", "The adapter alone in PEFT's format.", target="adapter"
    ),
    "shrink_rank": Remedy(
        f"Shrink to rank {VLLM_RANK}",
        "Keeps the strongest directions of every layer (singular values). What is lost is shown, "
        "and the certificate says what it changes.",
        shrinks=True,
    ),
    "fold_scaling": Remedy(
        "Write one scaling for all layers",
        "Moves each layer's strength into its numbers. The adapter computes the same as before.",
        folds=True,
    ),
    "drop_whole_modules": Remedy(
        "Leave out the modules trained in full",
        "The low-rank part alone is exported. The model answers differently without the rest; the "
        "certificate says how much.",
        drops="whole_modules",
    ),
    "drop_tokens": Remedy(
        "Leave out the trained tokens",
        "New or trained tokens go back to what the base knows. The certificate says what that "
        "changes.",
        drops="tokens",
    ),
    "drop_head": Remedy(
        "Leave out the output table",
        "The update of lm_head is not exported. The certificate says what that changes.",
        drops="head",
    ),
    "drop_input_table": Remedy(
        "Leave out the input table",
        "The update of the token table is not exported. The certificate says what that changes.",
        drops="input_table",
    ),
}


def apply_remedy(order: ExportOrder, name: str) -> ExportOrder:
    """Returns the order as the remedy changes it.

    Raises:
        RecipeInvalid: There is no such remedy.
    """
    remedy = REMEDIES.get(name)
    if remedy is None:
        raise RecipeInvalid(
            f"There is no remedy {name!r}.", f"Choose one of: {', '.join(REMEDIES)}."
        )
    changes: dict[str, object] = {}
    if remedy.target is not None:
        changes["target"] = remedy.target
    if remedy.drops is not None and remedy.drops not in order.drops:
        changes["drops"] = (*order.drops, remedy.drops)
    if remedy.onto is not None:
        changes["onto"] = remedy.onto
    if remedy.shrinks:
        changes["rank"] = min(order.rank or VLLM_RANK, VLLM_RANK)
    if remedy.folds:
        changes["rank"] = order.rank or WHOLE_RANK
    return order.model_copy(update=changes)
