"""Only what the base could do can be forgotten; a little is a warning, much is red."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from studio.core.events.measures import ProbeAnswered
from studio.core.forgetting.probes import Probe
from studio.core.forgetting.verdict import (
    describe_outcome,
    describe_verdict,
    is_right,
    judge,
)


def build(
    right: Sequence[tuple[bool, bool]], area: str = "arithmetic", divergence: float = 0.1
) -> list[ProbeAnswered]:
    return [
        ProbeAnswered(
            area=area,
            prompt="?",
            expected="",
            answers={},
            right={"base": base, "mine": mine},
            divergences={"base": 0.0, "mine": divergence},
            done_probes=1,
            total_probes=1,
        )
        for base, mine in right
    ]


@pytest.mark.parametrize(
    ("right", "area", "divergence", "state"),
    [
        ([(True, True)] * 8, "json", 0.1, "kept"),
        ([(True, True)] * 8, "json", 0.9, "changed"),
        ([(True, True)] * 7 + [(True, False)], "json", 0.1, "changed"),
        ([(True, True)] * 6 + [(True, False)] * 2, "json", 0.1, "broken"),
        ([(True, True)] * 10 + [(True, False)] * 2, "json", 0.1, "changed"),
        ([(True, False)] + [(False, False)] * 7, "json", 9.0, "unknown"),
        ([(True, True)] * 5 + [(True, False)], "own", 0.1, "broken"),
        ([(True, True)], "own", 0.1, "kept"),
        ([(False, False)], "own", 0.1, "unknown"),
    ],
)
def test_areas_are_judged_by_what_was_lost(
    right: list[tuple[bool, bool]], area: str, divergence: float, state: str
) -> None:
    (verdict,) = judge(build(right, area, divergence), ("base", "mine"))
    assert verdict.state == state
    assert verdict.known == sum(base for base, _ in right)
    assert verdict.lost == sum(base and not mine for base, mine in right)
    assert verdict.divergence == pytest.approx(divergence)
    severity, words = describe_outcome([verdict])
    assert severity == ("error" if state == "broken" else "success")
    assert ("mine broke" in words) == (state == "broken")
    assert str(verdict.known) in describe_verdict(verdict)


def test_what_is_gained_is_no_loss() -> None:
    (verdict,) = judge(build([(True, True)] * 2 + [(False, True)] * 3), ("base", "mine"))
    assert (verdict.gained, verdict.kept, verdict.state) == (3, 2, "kept")


def test_a_prompt_without_a_sign_is_compared_with_the_base() -> None:
    probe = Probe(prompt="Who are you?")
    assert is_right(probe, "I am a helper", "I am a helper of people", 2.0)
    assert is_right(probe, "Something else entirely", "I am a helper", 0.1)
    assert not is_right(probe, "Something else entirely", "I am a helper", 2.0)
    assert not is_right(probe, " ", "I am a helper", 0.0)
    assert not is_right(probe, "no no no no no no no", "I am a helper", 0.0)
