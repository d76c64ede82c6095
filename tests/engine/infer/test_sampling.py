"""Chances equal those of transformers' own filters; stop texts are found in pieces."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import generation

from studio.engine.infer.sampling import Sampling, find_chances, penalise_repetition
from studio.engine.infer.stop_texts import StopTexts


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.7},
        {"top_k": 5},
        {"top_p": 0.6},
        {"min_p": 0.2},
        {"temperature": 1.4, "top_k": 20, "top_p": 0.8, "min_p": 0.05},
        {"temperature": 0.5, "top_k": 3, "top_p": 0.01},
        {"top_k": 500},
    ],
)
def test_chances_equal_those_of_transformers(settings: dict[str, float]) -> None:
    generator = torch.Generator().manual_seed(0)
    sampling = Sampling(**({"temperature": 1.0} | settings))
    steps = [generation.TemperatureLogitsWarper(sampling.temperature)]
    if sampling.top_k:
        steps.append(generation.TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        steps.append(generation.TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        steps.append(generation.MinPLogitsWarper(sampling.min_p))
    for _ in range(20):
        logits = torch.randn(60, generator=generator) * 3
        scores = logits[None]
        for step in steps:
            scores = step(None, scores)
        chances, ids = find_chances(logits, sampling)
        found = torch.zeros(60).index_copy(0, ids, chances / chances.sum())
        torch.testing.assert_close(found, scores.softmax(-1)[0], rtol=1e-5, atol=1e-6)


def test_the_penalty_for_repetition_equals_that_of_transformers() -> None:
    logits = torch.randn(40, generator=torch.Generator().manual_seed(1))
    written = [3, 7, 7, 12]
    step = generation.RepetitionPenaltyLogitsProcessor(1.7)
    expected = step(torch.tensor([written]), logits[None].clone())[0]
    assert torch.equal(penalise_repetition(logits, written, 1.7), expected)


@given(
    text=st.text("abc", max_size=20),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(0, 20), max_size=6),
)
def test_text_in_pieces_ends_where_the_first_stop_text_begins(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    """The one that is complete first counts, and among those the one that begins first."""
    ends = [min(len(text), cut) for cut in sorted(cuts)]
    pieces = [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]
    finder = StopTexts(stops)
    shown = "".join(finder.add(piece) for piece in pieces)
    shown += finder.finish()
    is_in = any(stop in text for stop in stops)
    assert finder.is_found == is_in
    assert text.startswith(shown)
    assert not any(stop in shown for stop in stops)
    if is_in:
        assert any(text[len(shown) :].startswith(stop) for stop in stops)
    else:
        assert shown == text
