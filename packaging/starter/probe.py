"""What a model of the kit answers, and how often it is right."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from starter.question import Question
from starter.tokenizer import ASSISTANT, END, PAD, USER, get_token_id

_ROWS_PER_BATCH = 50
_MOST_NEW_TOKENS = 80


def answer_greedily(
    model: LlamaForCausalLM, tokenizer: Tokenizer, prompts: Sequence[str]
) -> list[str]:
    """Returns the model's most likely answer to each prompt, one conversation each."""
    pad, end = get_token_id(tokenizer, PAD), get_token_id(tokenizer, END)
    answers: list[str] = []
    for start in range(0, len(prompts), _ROWS_PER_BATCH):
        rows = [
            tokenizer.encode(f"{USER}{prompt}{END}{ASSISTANT}").ids
            for prompt in prompts[start : start + _ROWS_PER_BATCH]
        ]
        width = max(map(len, rows))
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
        with torch.no_grad():
            generated = model.generate(
                ids,
                attention_mask=torch.ne(ids, pad).long(),
                max_new_tokens=_MOST_NEW_TOKENS,
                do_sample=False,
                pad_token_id=pad,
                eos_token_id=end,
            )
        answers += [tokenizer.decode(row) for row in generated[:, width:].tolist()]
    return answers


def measure_accuracy(
    model: LlamaForCausalLM,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    *,
    count: int,
    seed: int,
) -> float:
    """Returns the share (0 to 1) of sampled questions answered word for word as expected."""
    sample = random.Random(seed).sample(list(questions), min(count, len(questions)))
    answers = answer_greedily(model, tokenizer, [question.prompt for question in sample])
    right = sum(answer == question.answer for answer, question in zip(answers, sample, strict=True))
    return right / len(sample)
