"""Shares of right answers and the overlap of words are those that scikit-learn counts."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from studio.engine.metrics import get_metric

pytestmark = pytest.mark.referee
WORDS = ("fox", "river", "mill", "ship", "honey", "baker", "moon")
LABELS = ("positive", "negative", "very negative", "mixed")
CARRIERS = ("{}", "It is {}.", "  I would say: **{}**!", "{}, because of the fox", "({})")
NO_LABEL = "I cannot tell."


def _measure(name: str, answers: list[str], expected: list[str], argument: str = "") -> float:
    metric = get_metric(name)
    pairs = zip(answers, expected, strict=True)
    rows = np.array([metric.count(answer, wanted, argument) for answer, wanted in pairs])
    return float(metric.combine(rows.sum(axis=0)))


@pytest.mark.parametrize("seed", range(5))
def test_label_accuracy_is_the_accuracy_of_the_classes_named(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    chance = random.Random(seed)
    truth = chance.choices(LABELS, k=40)
    found = chance.choices((*LABELS, "none"), k=40)
    answers = [
        NO_LABEL
        if label == "none"
        else chance.choice(CARRIERS).format(chance.choice((label, label.upper())))
        for label in found
    ]
    measured = _measure("label_accuracy", answers, truth, ",".join(LABELS))
    assert measured == pytest.approx(metrics.accuracy_score(truth, found))
    matrix = metrics.confusion_matrix(truth, found, labels=LABELS)
    assert measured == pytest.approx(np.trace(matrix) / 40)


@pytest.mark.parametrize("seed", range(5))
def test_exact_match_is_the_accuracy_of_whole_texts(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    chance = random.Random(seed)
    expected, answers = chance.choices(WORDS[:3], k=30), chance.choices(WORDS[:3], k=30)
    padded = [chance.choice((" {}", "{}\n", "{}")).format(answer) for answer in answers]
    share = metrics.accuracy_score(expected, answers)
    assert 0 < share < 1
    assert _measure("exact_match", padded, expected) == pytest.approx(share)


@pytest.mark.parametrize("seed", range(5))
def test_word_overlap_is_the_mean_f1_over_rows(seed: int) -> None:
    """A word that comes twice is two things to find: it is numbered for scikit-learn."""
    metrics = pytest.importorskip("sklearn.metrics")
    binarizer = pytest.importorskip("sklearn.preprocessing").MultiLabelBinarizer()
    chance = random.Random(seed)
    rows = [
        (chance.choices(WORDS, k=chance.randrange(1, 9)), chance.choices(WORDS, k=6))
        for _ in range(30)
    ]
    answers = [_number(answer) for answer, _ in rows]
    expected = [_number(wanted) for _, wanted in rows]
    binarizer.fit([*answers, *expected])
    f1 = metrics.f1_score(
        binarizer.transform(expected),
        binarizer.transform(answers),
        average="samples",
        zero_division=0.0,
    )
    texts = [(" the ".join(answer).title() + ".", " ".join(wanted)) for answer, wanted in rows]
    measured = _measure("token_f1", [one for one, _ in texts], [other for _, other in texts])
    assert measured == pytest.approx(f1)


def _number(words: list[str]) -> list[str]:
    seen: Counter[str] = Counter()
    numbered = []
    for word in words:
        seen[word] += 1
        numbered.append(f"{word} {seen[word]}")
    return numbered
