"""How likely a model finds the expected answers: the loss of every row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the name torch's own documentation uses
from torch import Tensor

from studio.engine.data.collate import IGNORED, collate_padded
from studio.engine.data.example import Example
from studio.engine.data.pack import group_padded
from studio.engine.lora.routing import RowChoice
from studio.engine.lora.stack import AdapterStack
from studio.engine.models.body import CausalBody
from studio.engine.train.loss import get_tile_rows

RowLosses = dict[int, tuple[float, float]]
"""By row of the file: nats and tokens."""
_BATCH_TOKENS = 2048


def iter_losses(
    parts: CausalBody, stack: AdapterStack, examples: Sequence[Example], choice: RowChoice
) -> Iterator[RowLosses]:
    """Yields the losses known so far after each batch; the last one is complete."""
    sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for group in group_padded([len(example) for example in examples], _BATCH_TOKENS):
        chosen = [examples[position] for position in group]
        with stack.rows([choice] * len(chosen)):
            nats, tokens = _measure(parts, chosen)
        for example, row_nats, row_tokens in zip(chosen, nats, tokens, strict=True):
            sums[example.row][0] += row_nats
            sums[example.row][1] += row_tokens
        yield {row: (nats, tokens) for row, (nats, tokens) in sums.items()}


@torch.no_grad()
def _measure(parts: CausalBody, examples: Sequence[Example]) -> tuple[list[float], list[float]]:
    """Returns nats and tokens of each example."""
    batch = collate_padded(examples)
    device = parts.model.device
    places = (batch.targets != IGNORED).nonzero()
    targets = batch.targets[places[:, 0], places[:, 1]].to(device)
    inputs = {"input_ids": batch.ids.to(device)}
    if batch.attention_mask is not None:
        inputs["attention_mask"] = batch.attention_mask.to(device)
    if parts.is_split:
        hidden = parts.compute_hidden(**inputs)[places[:, 0], places[:, 1]]
        losses = _compute_losses(parts, hidden, targets)
    else:
        logits = parts.model(**inputs, use_cache=False).logits[places[:, 0], places[:, 1]]
        losses = F.cross_entropy(logits.float(), targets, reduction="none")
    rows = places[:, 0]
    nats = torch.zeros(len(examples), dtype=torch.float64).index_add(0, rows, losses.cpu().double())
    return nats.tolist(), rows.bincount(minlength=len(examples)).double().tolist()


def _compute_losses(parts: CausalBody, hidden: Tensor, targets: Tensor) -> Tensor:
    """Returns the loss of each position, ``(positions,)``; few rows of logits exist at a time."""
    vocabulary = int(parts.model.get_input_embeddings().weight.shape[0])
    rows = get_tile_rows(vocabulary, hidden.device)
    found = []
    for start in range(0, len(targets), rows):
        logits = parts.rule.apply(parts.head(hidden[start : start + rows]).float())
        wanted = targets[start : start + rows]
        found.append(F.cross_entropy(logits, wanted, reduction="none"))
    return torch.cat(found)
