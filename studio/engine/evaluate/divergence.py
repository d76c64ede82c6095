"""How far the words of adapters are from those of their base."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from studio.engine.lora.routing import RowChoice
from studio.engine.lora.stack import AdapterStack
from studio.engine.models.body import CausalBody
from studio.engine.train.loss import get_tile_rows


@torch.no_grad()
def measure_divergences(
    parts: CausalBody,
    stack: AdapterStack,
    prompt_ids: Sequence[int],
    answer_ids: Sequence[int],
    choices: Sequence[RowChoice],
) -> list[float]:
    """Returns for each choice the mean Kullback-Leibler divergence of the base from it.

    In nats per token of the answer: sum over the vocabulary of p (log p - log q), p the base's
    chance of a token and q the adapter's, at each place of the base's own answer.

    Source: Kullback and Leibler 1951, "On Information and Sufficiency".
    """
    ids = torch.tensor([*prompt_ids, *answer_ids], device=parts.model.device)
    rows = (RowChoice(), *choices)
    places = slice(len(prompt_ids) - 1, len(ids) - 1)
    with stack.rows(rows):
        hidden = _compute(parts, ids.expand(len(rows), -1))[:, places]
        sums = torch.zeros(len(choices), dtype=torch.float64)
        for part in torch.split(hidden, max(1, _count_places(parts, len(rows))), dim=1):
            chances = _get_log_chances(parts, part)
            base = chances[0]
            differences = base.exp() * (base - chances[1:])
            sums += differences.sum(dim=(1, 2)).cpu().double()
    # rounding can leave a hair below zero where nothing differs
    return (sums / len(answer_ids)).clamp_min(0).tolist()


def _compute(parts: CausalBody, ids: Tensor) -> Tensor:
    """Returns what the head reads, ``(rows, tokens, width)``; logits where there is no head."""
    if parts.is_split:
        return parts.compute_hidden(input_ids=ids)
    logits: Tensor = parts.model(input_ids=ids, use_cache=False).logits
    return logits


def _get_log_chances(parts: CausalBody, hidden: Tensor) -> Tensor:
    if not parts.is_split:
        return hidden.float().log_softmax(dim=-1)
    return parts.rule.apply(parts.head(hidden).float()).log_softmax(dim=-1)


def _count_places(parts: CausalBody, rows: int) -> int:
    vocabulary = int(parts.model.get_input_embeddings().weight.shape[0])
    return get_tile_rows(vocabulary, parts.model.device) // rows
