"""Votes of a blind test: what was asked, what each column answered, which answer was best."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from studio.core.compare.exchanges import KeptAnswer, KeptExchange
from studio.core.compare.ratings import Choice


class Vote(KeptExchange):
    """An exchange whose answers were judged without names.

    ``winner`` is the place of the best answer in ``answers``; None means that none was better.
    """

    winner: int | None = None

    def find_equals(self, place: int) -> tuple[int, ...]:
        """Returns the places of all answers with the text of the one at ``place``."""
        text = self.answers[place].text
        return tuple(at for at, answer in enumerate(self.answers) if answer.text == text)


def list_choices(votes: Sequence[Vote], base: str = "") -> list[Choice]:
    """Returns what the votes say of their columns; ``base`` leaves only votes on that model.

    A column is ranked by its adapter and strength; columns that gave the very answer that was
    chosen share the vote, so that equal answers are a tie. Different adapters of one name get the
    name of the folder above theirs as well.
    """
    judged = [vote for vote in votes if len(vote.answers) > 1 and base in ("", vote.base)]
    names = _name_all([answer for vote in judged for answer in vote.answers])
    return [
        Choice(
            tuple(names[_identify(answer)] for answer in vote.answers),
            vote.winner,
            () if vote.winner is None else vote.find_equals(vote.winner),
        )
        for vote in judged
    ]


def _identify(answer: KeptAnswer) -> tuple[str, float]:
    return answer.adapter, answer.strength


def _name_all(answers: Sequence[KeptAnswer]) -> dict[tuple[str, float], str]:
    titles = {_identify(answer): answer.title for answer in answers}
    uses = Counter(titles.values())
    return {
        identity: title if uses[title] == 1 else f"{title} ({Path(identity[0]).parent.name})"
        for identity, title in titles.items()
    }


def write_preferences(votes: Sequence[Vote]) -> str:
    """Returns the votes as preference pairs in JSONL: one line per answer that lost.

    Chats have ``prompt``, ``chosen`` and ``rejected`` as lists of messages, plain texts as texts.
    Ties say nothing, and two equal answers are no pair.
    """
    lines = []
    for vote in votes:
        if vote.winner is None:
            continue
        best = vote.answers[vote.winner].text
        rejected = [answer.text for answer in vote.answers if answer.text != best]
        lines += [
            json.dumps(_build_pair(vote, best, text), ensure_ascii=False) for text in rejected
        ]
    return "".join(f"{line}\n" for line in lines)


def _build_pair(vote: Vote, chosen: str, rejected: str) -> dict[str, object]:
    if vote.is_raw:
        return {"prompt": vote.prompt, "chosen": chosen, "rejected": rejected}
    return {
        "prompt": [{"role": turn.role, "content": turn.content} for turn in vote.turns],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
    }
