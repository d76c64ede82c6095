"""Memory that runs out: how it is recognised and how room is made."""

from __future__ import annotations

import gc

import torch

from studio.core.errors import OutOfMemory

_CARD_WORDS = (
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",  # there was no room for what the library itself needs
    "CUDNN_STATUS_ALLOC_FAILED",
    "out of memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether ``error`` says that the device or the computer has no memory left.

    torch has a type for the card's memory only; the processor's allocator and the libraries on
    the card say it in words.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    words = str(error)
    return "DefaultCPUAllocator" in words or any(one in words for one in _CARD_WORDS)


def give_memory_back() -> None:
    """Gives the device what the program holds back for later.

    Call it when the error is gone: its traceback keeps the tensors of the failed step alive.
    """
    gc.collect()  # graphs of recomputed layers refer to themselves
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def build_refusal(tokens: int, step: int) -> OutOfMemory:
    """Returns the error of a step that cannot be made smaller; 0 tokens: it was no example."""
    what = f"even a single example of {tokens:,} tokens does not fit"
    if not tokens:
        what = "there is no room to change the weights"
    return OutOfMemory(
        f"The memory is not enough for step {step:,}: {what}.",
        "Lower the longest example (data.max_tokens), recompute layers (train.checkpointing: "
        "all), quantise the base (base.quantisation: nf4), or close other programs. The last "
        "checkpoint can be resumed.",
    )
