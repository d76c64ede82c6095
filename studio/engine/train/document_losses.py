"""What each document of a step costs: summed on the device, read with the step's other numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from studio.engine.data.collate import MicroBatch
from studio.engine.train.loss import TokenNotes


@dataclass(frozen=True)
class DocumentLoss:
    """``document`` is a position in the store; both numbers are means over its learnt tokens.

    ``loss`` is the cross-entropy and ``shortfall`` how far the wanted token lay below the model's
    favourite one, in nats; 0 where the model would have written the document's answer itself.
    """

    document: int
    loss: float
    shortfall: float


class DocumentLosses:
    """The sums of one optimizer step, document by document; nothing waits for the device."""

    def __init__(self) -> None:
        self._documents: list[tuple[int, int]] = []
        self._sums: list[Tensor] = []

    def start_step(self) -> None:
        """Forgets the step before, or what was begun of this one."""
        self._documents, self._sums = [], []

    def open(self, batch: MicroBatch, device: torch.device) -> TokenNotes:
        """Returns the place where the loss of a micro-batch notes its tokens."""
        return TokenNotes.build(batch.supervised_tokens, device)

    def add(self, batch: MicroBatch, notes: TokenNotes) -> None:
        """Adds a micro-batch whose tokens are noted.

        The tokens of a document stand one after the other, so one sum per stretch is enough; it
        adds in a fixed order on every device.
        """
        # Lengths are right by construction; to check them would wait for the device.
        lengths = torch.tensor(batch.learnt_tokens).to(notes.values.device, non_blocking=True)
        sums = torch.segment_reduce(notes.values, "sum", lengths=lengths, axis=0, unsafe=True)
        self._sums.append(sums)
        unknown = (-1,) * batch.rows
        self._documents += zip(batch.documents or unknown, batch.learnt_tokens, strict=True)

    def stack(self) -> Tensor | None:
        """Returns all sums of the step as one tensor ``(2 * documents,)``, None without any."""
        return torch.cat(self._sums).flatten() if self._sums else None

    def read(self, numbers: Sequence[float]) -> list[DocumentLoss]:
        """Returns what each document cost; ``numbers`` are those of ``stack``, on the processor.

        Documents without a learnt token have no loss and are left out.
        """
        pairs = zip(self._documents, numbers[::2], numbers[1::2], strict=True)
        return [
            DocumentLoss(document, loss / tokens, shortfall / tokens)
            for (document, tokens), loss, shortfall in pairs
            if tokens
        ]
