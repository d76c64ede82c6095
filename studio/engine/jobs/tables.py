"""Tells at the start of a training that a shared table of word vectors is trained by half."""

from __future__ import annotations

from collections.abc import Iterator

from transformers import PreTrainedModel

from studio.core.events.types import NoticeRaised
from studio.core.recipe.check_tables import BOTH_SIDES, HALF_TRAINED
from studio.engine.lora.adapter import Adapter


def tell_tables(model: PreTrainedModel, adapter: Adapter) -> Iterator[NoticeRaised]:
    """Yields a notice where the base writes with its input table and only reading is trained.

    ``model`` has its adapter on.
    """
    reads, writes = model.get_input_embeddings(), model.get_output_embeddings()
    names = {id(module): name for name, module in {**adapter.modules, **adapter.extras}.items()}
    if id(reads) not in names or id(writes) in names or writes is None:
        return
    name = names[id(reads)]
    if {**adapter.modules, **adapter.extras}[name].base.weight is not writes.weight:
        return
    words = HALF_TRAINED.format(table=name.rpartition(".")[2])
    head = next(own for own, module in model.named_modules() if module is writes)
    yield NoticeRaised(
        severity="warning",
        code="table_half_trained",
        message=f"{words[0].upper()}{words[1:]}",
        remedy=BOTH_SIDES.format(head=head),
    )
