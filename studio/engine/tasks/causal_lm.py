"""Causal language models: the loss of writing the supervised tokens of some documents."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from studio.core.memory.auto import MOST_SPARED_SHARE
from studio.engine.data.collate import IGNORED, MicroBatch
from studio.engine.models.attention import packed_documents
from studio.engine.models.body import CausalBody
from studio.engine.models.heap import return_gaps
from studio.engine.models.last_layer import find_last_layer
from studio.engine.models.recompute import recomputes_layers
from studio.engine.train.document_losses import DocumentLosses
from studio.engine.train.loss import sum_cross_entropy, sum_logits


class CausalTask:
    """Computes the losses of one model, of packed and of padded micro-batches.

    For packed ones the model must use the attention function ``studio_packed``. The adapter must
    be in place. ``tile_rows`` is how many rows of logits exist at once; None takes the usual size.
    ``documents`` learns what each document that is trained on costs; None spares that.
    ``smoothing`` is the share of every target that training spreads over all tokens.
    """

    def __init__(
        self,
        parts: CausalBody,
        tile_rows: int | None = None,
        documents: DocumentLosses | None = None,
        smoothing: float = 0.0,
    ) -> None:
        self.documents = documents
        self._smoothing = smoothing
        self._parts = parts
        self._tile_rows = tile_rows
        self._last_layer = find_last_layer(parts)

    @property
    def model(self) -> PreTrainedModel:
        """The model whose loss is computed."""
        return self._parts.model

    @property
    def _recomputes(self) -> bool:
        return recomputes_layers(self.model)

    @property
    def spares_rows(self) -> bool:
        """Whether the last layer computes only supervised rows behind its attention."""
        return self._last_layer is not None

    def add_gradients(self, batch: MicroBatch, divisor: int) -> Tensor:
        """Adds the gradients of ``loss sum / divisor``; returns the detached sum in nats, ``()``.

        ``divisor`` is the number of supervised tokens of the whole optimizer step.
        """
        with self._packed(batch):  # recomputation needs the documents in the backward pass too
            loss = self._sum_loss(batch, self.documents, self._smoothing)
            (loss / divisor).backward()  # type: ignore[no-untyped-call]  # torch's own method
        return loss.detach()

    @torch.no_grad()
    def measure(self, batch: MicroBatch) -> Tensor:
        """Returns the sum of the loss over the supervised tokens, in nats, ``()``."""
        with self._packed(batch):
            return self._sum_loss(batch)

    def _packed(self, batch: MicroBatch) -> AbstractContextManager[None]:
        if batch.bounds is None:
            return nullcontext()
        return packed_documents(self.model, [end - start for start, end in batch.bounds])

    def _sum_loss(
        self,
        batch: MicroBatch,
        documents: DocumentLosses | None = None,
        smoothing: float = 0.0,
    ) -> Tensor:
        device = self.model.device
        inputs = {"input_ids": batch.ids.to(device, non_blocking=True)}
        if batch.attention_mask is None:
            inputs["position_ids"] = batch.position_ids.to(device, non_blocking=True)
        else:
            # Right padding: a model counts positions from the left by itself, and no real token
            # sees the filler.
            inputs["attention_mask"] = batch.attention_mask.to(device, non_blocking=True)
        # Found on the processor: to pick rows by a mask on the card would wait for it.
        flat_targets = batch.targets.flatten()
        rows = (flat_targets != IGNORED).nonzero().squeeze(1)
        targets = flat_targets[rows].to(device, non_blocking=True)
        rows = rows.to(device, non_blocking=True)
        notes = None if documents is None else documents.open(batch, device)
        if self._parts.is_split:
            hidden = self._compute_rows(inputs, rows)
            if hidden.requires_grad and hidden.device.type == "cpu" and self._recomputes:
                return_gaps()  # what the layers freed lies beside the tile of logits otherwise
            parts = self._parts
            loss = sum_cross_entropy(
                hidden, targets, parts.head, parts.rule, self._tile_rows, notes, smoothing
            )
        else:
            logits = self.model(**inputs, use_cache=False).logits.flatten(0, 1)[rows]
            loss = sum_logits(logits.float(), targets, notes, slice(None), smoothing)
        if documents is not None and notes is not None:
            documents.add(batch, notes)
        return loss

    def _compute_rows(self, inputs: dict[str, Any], rows: Tensor) -> Tensor:
        """Returns the hidden states that have a target, ``(rows, width)``."""
        all_rows = inputs["input_ids"].numel()
        if self._last_layer is None or len(rows) > MOST_SPARED_SHARE * all_rows:
            return self._parts.compute_hidden(**inputs).flatten(0, 1)[rows]
        with self._last_layer.only(rows):
            return self._parts.compute_hidden(**inputs)[0]
