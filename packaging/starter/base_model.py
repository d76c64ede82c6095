"""The base model: a small Llama trained from nothing on the texts of Tidewick."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from starter.corpus import ConversationWriter, Message, QuestionBook, write_page
from starter.tokenizer import ASSISTANT, CONTEXT_TOKENS, END, PAD, get_token_id

_ROWS_PER_STEP = 64
_STEPS_PER_POOL = 16
_PEAK_LEARNING_RATE = 4e-3
_WARMUP_STEPS = 60
_PROMPT_WEIGHT = 0.1
_PAGE_FRACTION = 0.08


@dataclass(frozen=True)
class Row:
    """Token ids of one text and, for each, how much predicting it counts."""

    ids: list[int]
    weights: list[float]


def build_model(tokenizer: Tokenizer, seed: int) -> LlamaForCausalLM:
    """Returns an untrained Llama of about 1.5 million parameters, in fp32."""
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=192,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=True,
        initializer_range=0.04,
        bos_token_id=None,
        eos_token_id=get_token_id(tokenizer, END),
        pad_token_id=get_token_id(tokenizer, PAD),
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    model.generation_config.do_sample = False
    return model


def train_base(
    model: LlamaForCausalLM,
    tokenizer: Tokenizer,
    book: QuestionBook,
    *,
    steps: int,
    seed: int,
    report: Callable[[int, float], None],
) -> float:
    """Trains the model in place and returns the mean loss of the last 50 steps.

    The loss counts answers fully and prompts a little; ``report`` gets step and loss.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=_PEAK_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.02
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _factor(step, steps))
    batches = _iter_batches(tokenizer, book, random.Random(f"{seed}-base"))
    losses: list[float] = []
    model.train()
    for step in range(1, steps + 1):
        ids, weights = next(batches)
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        each = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
        )
        loss = (each * weights[:, 1:].flatten()).sum() / weights[:, 1:].sum()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses = [*losses[-49:], loss.item()]
        report(step, loss.item())
    model.eval()
    return sum(losses) / len(losses)


def row_of_conversation(tokenizer: Tokenizer, messages: list[Message]) -> Row:
    """Returns the conversation as the chat template writes it; answers count fully."""
    ids: list[int] = []
    weights: list[float] = []
    for message in messages:
        text = f"<|{message['role']}|>{message['content']}{END}"
        encoded = tokenizer.encode(text, add_special_tokens=False).ids
        weight = 1.0 if encoded[0] == get_token_id(tokenizer, ASSISTANT) else _PROMPT_WEIGHT
        ids += encoded
        weights += [_PROMPT_WEIGHT, *[weight] * (len(encoded) - 1)]
    return Row(ids, weights)


def _factor(step: int, steps: int) -> float:
    if step < _WARMUP_STEPS:
        return (step + 1) / _WARMUP_STEPS
    progress = (step - _WARMUP_STEPS) / max(1, steps - _WARMUP_STEPS)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _iter_batches(
    tokenizer: Tokenizer, book: QuestionBook, random_source: random.Random
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yields ids and weights ``(rows, tokens)`` for ever; rows of like length share a batch."""
    writer = ConversationWriter(book, random_source)
    pad = get_token_id(tokenizer, PAD)
    while True:
        pool = [
            _write_row(tokenizer, book, writer, random_source)
            for _ in range(_ROWS_PER_STEP * _STEPS_PER_POOL)
        ]
        pool.sort(key=lambda row: len(row.ids))
        starts = list(range(0, len(pool), _ROWS_PER_STEP))
        random_source.shuffle(starts)
        for start in starts:
            rows = pool[start : start + _ROWS_PER_STEP]
            width = min(CONTEXT_TOKENS, max(len(row.ids) for row in rows))
            ids = [(row.ids + [pad] * width)[:width] for row in rows]
            weights = [(row.weights + [0.0] * width)[:width] for row in rows]
            yield torch.tensor(ids), torch.tensor(weights)


def _write_row(
    tokenizer: Tokenizer,
    book: QuestionBook,
    writer: ConversationWriter,
    random_source: random.Random,
) -> Row:
    if random_source.random() < _PAGE_FRACTION:
        ids = tokenizer.encode(write_page(book, random_source) + END).ids
        return Row(ids, [_PROMPT_WEIGHT * 3] * len(ids))
    return row_of_conversation(tokenizer, writer.write())
