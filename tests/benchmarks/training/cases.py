"""Models with random weights, the documents they train on, and what is equal for all sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

BATCH = 8
WARM_STEPS = 1
RANK, ALPHA, RATE = 16, 32.0, 2e-4
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class Case:
    """A model with random weights, and how long its documents are."""

    title: str
    width: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    vocabulary: int
    longest: int
    median: int
    seed: int


CASES = {
    "mid": Case("31 M parameters, vocabulary 16,384", 512, 1408, 8, 8, 4, 16384, 512, 110, 98),
    "bigv": Case("59 M parameters, vocabulary 128,256", 384, 1024, 6, 6, 2, 128256, 256, 90, 54),
}


@dataclass(frozen=True)
class Document:
    """Token ids and which of them are supervised, both ``(tokens,)``."""

    ids: NDArray[np.int32]
    supervised: NDArray[np.bool_]


def draw_documents(
    count: int, *, median: int, longest: int, vocabulary: int, seed: int
) -> list[Document]:
    """Returns documents with lognormal lengths, a quarter to two thirds of each a prompt."""
    numbers = np.random.default_rng(seed)
    lengths = numbers.lognormal(np.log(median), 0.6, count).astype(int)
    documents = []
    for length in np.clip(lengths, 16, longest):
        prompt = int(length * numbers.uniform(0.25, 0.65))
        ids = numbers.integers(3, vocabulary, length).astype(np.int32)
        documents.append(Document(ids, np.arange(length) >= prompt))
    return documents


def build_documents(case: Case, count: int) -> list[Document]:
    """Returns the documents of a case."""
    return draw_documents(
        count,
        median=case.median,
        longest=case.longest,
        vocabulary=case.vocabulary,
        seed=case.seed,
    )


def build_model(case: Case) -> Any:
    """Returns the model with random weights in float32."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=case.vocabulary,
        hidden_size=case.width,
        intermediate_size=case.inner,
        num_hidden_layers=case.layers,
        num_attention_heads=case.heads,
        num_key_value_heads=case.key_heads,
        max_position_embeddings=case.longest,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return transformers.LlamaForCausalLM(config)


def iter_batches(documents: list[Document], batch: int = BATCH) -> Iterator[list[Document]]:
    """Yields the documents of one step after the other."""
    for start in range(0, len(documents), batch):
        yield documents[start : start + batch]


def count_tokens(documents: list[Document], first: int = 0) -> int:
    """Returns the tokens of all documents from the ``first`` one on."""
    return sum(len(one.ids) for one in documents[first:])


def sort_by_length(documents: list[Document], seed: int) -> list[Document]:
    """Returns the documents in batches of similar length, the batches in random order."""
    batches = list(iter_batches(sorted(documents, key=lambda one: len(one.ids))))
    order = np.random.default_rng(seed).permutation(len(batches))
    return [one for index in order for one in batches[index]]
