"""Batches as others build them: padded, with the labels of what is not trained at -100."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def pad(batch: list[Any]) -> dict[str, torch.Tensor]:
    """Returns ids, attention mask and labels, ``(documents, tokens)`` each.

    The documents have ``ids`` and ``supervised``.
    """
    shape = (len(batch), max(len(one.ids) for one in batch))
    ids = torch.zeros(shape, dtype=torch.long)
    labels, mask = torch.full(shape, -100), torch.zeros(shape, dtype=torch.long)
    for row, one in enumerate(batch):
        count = len(one.ids)
        ids[row, :count] = torch.from_numpy(one.ids.astype(np.int64))
        mask[row, :count] = 1
        chosen = torch.from_numpy(one.supervised)
        labels[row, :count] = torch.where(chosen, ids[row, :count], -100)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
