"""How the next token is chosen from the model's scores: greedily, or drawn from the likely ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen; ``temperature`` 0 takes the most likely one each time.

    ``top_p`` 1, ``top_k`` 0, ``min_p`` 0 and ``repetition_penalty`` 1 leave the model's own
    chances alone.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0


def choose_token(
    logits: Tensor,
    sampling: Sampling,
    generator: torch.Generator,
    written: Collection[int] = (),
) -> int:
    """Returns one id from the logits of the next token, ``(vocabulary,)``.

    ``written`` are the ids so far, prompt included; only the repetition penalty looks at them.
    """
    if sampling.repetition_penalty != 1.0 and written:
        logits = penalise_repetition(logits, written, sampling.repetition_penalty)
    if sampling.temperature == 0:
        return int(logits.argmax())
    chances, ids = find_chances(logits, sampling)
    return int(ids[torch.multinomial(chances, 1, generator=generator)])


def penalise_repetition(logits: Tensor, written: Collection[int], penalty: float) -> Tensor:
    """Returns the logits with those of ``written`` divided by ``penalty``, negative ones times it.

    Source: Keskar et al. 2019 (arXiv 1909.05858), section 4.1; the rule for negative values is
    the one that is in general use.
    """
    index = torch.tensor(sorted(set(written)), device=logits.device)
    seen = logits[index]
    seen = torch.where(seen < 0, seen * penalty, seen / penalty)
    return logits.index_copy(0, index, seen)


def find_chances(logits: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Returns chances, not normalised, and their ids, likeliest first, on the processor.

    What is not to be drawn has the chance 0. Temperature acts first, then ``top_k``, ``top_p``
    among what is left, and ``min_p``.

    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1, for
    the smallest set that reaches ``top_p``; Nguyen et al. 2024 (arXiv 2407.01082) for ``min_p``.
    """
    chances = torch.softmax(logits.float().cpu() / sampling.temperature, dim=-1)
    ordered, ids = chances.sort(descending=True, stable=True)
    if sampling.top_k:
        ordered, ids = ordered[: sampling.top_k], ids[: sampling.top_k]
        ordered = ordered / ordered.sum()
    before = ordered.cumsum(dim=-1) - ordered
    is_out = (before >= sampling.top_p) | (ordered < sampling.min_p * ordered[0])
    return ordered.masked_fill(is_out, 0.0), ids
