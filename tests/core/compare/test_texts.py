"""Prompt sets, the history of exchanges and what votes become."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.core.compare.exchanges import KeptAnswer, KeptExchange, write_markdown
from studio.core.compare.journal import Journal
from studio.core.compare.prompts import PromptSets, load_prompts, save_prompts
from studio.core.compare.votes import Vote, list_choices, write_preferences
from studio.core.errors import FileUnusable
from studio.core.jobs.orders import Turn


def test_prompt_sets_go_to_files_that_generate_reads_and_back(tmp_path: Path) -> None:
    prompts = [
        (Turn(role="user", content='What is "2+2"?\nSay it.'),),
        (Turn(role="system", content="Be brief."), Turn(role="user", content="Grüße")),
    ]
    sets = PromptSets(tmp_path / "home" / "prompts")
    assert sets.list_names() == []
    assert sets.save("My first / set", prompts) == "My-first-set"
    sets.save("another", prompts[:1])
    assert sets.list_names() == ["another", "My-first-set"]
    assert sets.load("My first / set") == prompts
    save_prompts(tmp_path / "out.jsonl", prompts)
    assert load_prompts(tmp_path / "out.jsonl") == prompts
    assert json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()[0]) == {
        "prompt": 'What is "2+2"?\nSay it.'
    }
    assert sets.save("another", prompts) == "another-2"  # what is there is not lost
    assert sets.load("another") == prompts[:1]
    sets.remove("another-2")
    sets.remove("another")
    sets.remove("another")
    assert sets.list_names() == ["My-first-set"]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "{}",
        '{"prompt": 3}',
        '{"messages": []}',
        '{"messages": [{"role": "tool"}]}',
        '{"messages": [{"role": "assistant", "content": "I am not asked"}]}',
    ],
)
def test_a_line_that_is_no_prompt_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"prompt": "good"}\n\n' + line, encoding="utf-8")
    with pytest.raises(FileUnusable, match="line 3"):
        load_prompts(path)
    path.write_text("\n\n", encoding="utf-8")
    with pytest.raises(FileUnusable, match="empty"):
        load_prompts(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileUnusable, match="else than UTF-8 text"):
        load_prompts(path)
    with pytest.raises(FileUnusable, match="does not exist"):
        load_prompts(tmp_path / "missing.jsonl")


def _exchange(**changes: object) -> KeptExchange:
    answers = (
        KeptAnswer(column="base", text="Arr ```text``` <b>", tokens=8, seconds=0.5),
        KeptAnswer(column="pirate", text="Ahoy", adapter="/runs/1/adapter", strength=0.5),
    )
    values: dict[str, object] = {
        "time_seconds": 1_790_000_000.0,
        "base": "starter",
        "turns": (Turn(role="user", content="# Hi *there*"),),
        "answers": answers,
        "settings": "most likely words",
    }
    return KeptExchange.model_validate(values | changes)


def test_markdown_keeps_foreign_text_as_text() -> None:
    text = write_markdown([_exchange()])
    assert "## Hi there" in text
    assert "````text\nArr ```text``` <b>\n````" in text
    assert "### pirate at 50 %" in text
    assert "8 tokens, 16 tokens/s" in text


def test_the_history_survives_a_damaged_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "deep" / "history.jsonl", KeptExchange)
    assert journal.load() == []
    journal.append(_exchange())
    with journal.path.open("ab") as stream:
        stream.write(b'{"time_seconds": 1, "ba')
    journal.append(_exchange(base="other"))
    assert [one.base for one in journal.load()] == ["starter", "other"]
    assert journal.skipped == 1


def _vote(winner: int | None, **changes: object) -> Vote:
    return Vote.model_validate(_exchange(**changes).model_dump() | {"winner": winner})


def test_votes_become_pairs_of_a_chosen_and_a_rejected_answer() -> None:
    same = (KeptAnswer(column="base", text="x"), KeptAnswer(column="a", text="x", adapter="/a"))
    votes = [_vote(1), _vote(None), _vote(0, is_raw=True), _vote(0, answers=same)]
    chat, plain = map(json.loads, write_preferences(votes).splitlines())
    assert chat == {
        "prompt": [{"role": "user", "content": "# Hi *there*"}],
        "chosen": [{"role": "assistant", "content": "Ahoy"}],
        "rejected": [{"role": "assistant", "content": "Arr ```text``` <b>"}],
    }
    assert plain == {
        "prompt": "# Hi *there*",
        "chosen": "Arr ```text``` <b>",
        "rejected": "Ahoy",
    }


def test_contestants_are_told_apart_by_adapter_and_strength() -> None:
    other = (
        KeptAnswer(column="base", text="Yes"),
        KeptAnswer(column="pirate", text="Aye", adapter="/runs/2/adapter", strength=0.5),
    )
    votes = [_vote(1), _vote(0, answers=other), _vote(None, base="elsewhere")]
    choices = list_choices(votes, "starter")
    assert [choice.winner for choice in choices] == [1, 0]
    assert choices[0].names == ("Base", "pirate at 50 % (1)")
    assert choices[1].names == ("Base", "pirate at 50 % (2)")
    assert len(list_choices(votes)) == 3


def test_an_answer_equal_to_the_chosen_one_shares_the_vote() -> None:
    answers = tuple(
        KeptAnswer(column=name, text=text, adapter=f"/{name}")
        for name, text in (("a", "same"), ("b", "other"), ("c", "same"))
    )
    mixed, alike = list_choices([_vote(2, answers=answers), _vote(0, answers=answers[::2])])
    assert (mixed.winner, mixed.best, mixed.is_tie) == (2, (0, 2), False)
    assert (alike.winner, alike.best, alike.is_tie) == (0, (0, 1), True)
