"""Generates tokens one by one with a key-value cache, greedy or sampled."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen; ``temperature`` 0 takes the most likely one each time."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


def iter_tokens(
    model: PreTrainedModel,
    prompt_ids: Sequence[int],
    sampling: Sampling,
    stop_ids: Collection[int],
    context_tokens: int | None = None,
) -> Iterator[int]:
    """Yields the ids after the prompt; a stop id is yielded too and is the last one.

    Ends after ``max_new_tokens``, or when prompt and answer fill ``context_tokens``. The model
    must be in evaluation mode. Sampling draws from a generator of its own, on the processor, so
    that a seed gives the same answer whatever else is computed.

    Raises:
        ValueError: The prompt is empty.
    """
    if not prompt_ids:
        raise ValueError("there is no token to start from")
    generator = torch.Generator().manual_seed(sampling.seed)
    room = sampling.max_new_tokens
    if context_tokens is not None:
        room = min(room, context_tokens - len(prompt_ids))
    cache: Any = None
    written = list(prompt_ids)
    for _ in range(room):
        # Models without a key-value cache read everything again.
        logits, cache = _advance(model, written if cache is None else written[-1:], cache)
        token = choose_token(logits, sampling, generator)
        yield token
        if token in stop_ids:
            return
        written.append(token)


def choose_token(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """Returns one id from the logits of the next token, ``(vocabulary,)``.

    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1: the
    smallest set of tokens whose probability reaches ``top_p``.
    """
    if sampling.temperature == 0:
        return int(logits.argmax())
    chances = torch.softmax(logits.float().cpu() / sampling.temperature, dim=-1)
    ordered, ids = chances.sort(descending=True, stable=True)
    before = ordered.cumsum(dim=-1) - ordered
    ordered = ordered.masked_fill(before >= sampling.top_p, 0.0)
    at = torch.multinomial(ordered, 1, generator=generator)
    return int(ids[at])


@torch.no_grad()
def _advance(model: PreTrainedModel, ids: list[int], cache: Any) -> tuple[Tensor, Any]:
    """Returns the logits of the next token, ``(vocabulary,)``, and the cache grown by ``ids``.

    The cache is None for models that have none, for example state-space models.
    """
    inputs = {} if cache is None else {"past_key_values": cache}
    output = model(
        input_ids=torch.tensor([ids], device=model.device),
        use_cache=True,
        return_dict=True,
        **inputs,
    )
    return output.logits[0, -1], getattr(output, "past_key_values", None)
