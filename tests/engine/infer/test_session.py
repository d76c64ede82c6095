"""Base and adapters answer side by side over one copy of the base's weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from studio.core.errors import AdapterUnusable, StudioError
from studio.core.events.types import (
    AnswerFinished,
    AnswerStarted,
    Event,
    RequestFailed,
    TokensGenerated,
)
from studio.core.jobs.orders import Ask, Turn
from studio.core.recipe.schema import AdapterSettings
from studio.engine.infer.few_rows import FewRowsLinear
from studio.engine.infer.session import ChatSession
from studio.engine.infer.speech import build_speech
from studio.engine.lora.inject import inject
from studio.engine.lora.state import save_adapter
from studio.engine.models.files import load_config, load_tokenizer
from studio.engine.models.load import load_model
from tests.engine.tiny_run import of_type

CPU = torch.device("cpu")


def _write_adapter(base: Path, folder: Path, seed: int) -> Path:
    adapter = inject(
        load_model(base, torch.float32, CPU), AdapterSettings(rank=4, alpha=8.0), seed=seed
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    save_adapter(adapter, folder, base_model=str(base))
    return folder


@pytest.fixture
def session(tiny_base: Path, tmp_path: Path) -> ChatSession:
    tokenizer = load_tokenizer(tiny_base)
    speech = build_speech(tiny_base, tokenizer, load_config(tiny_base), base_folder=tiny_base)
    session = ChatSession(load_model(tiny_base, torch.float32, CPU), speech)
    session.add_adapters(
        {f"a{seed}": _write_adapter(tiny_base, tmp_path / f"a{seed}", seed) for seed in (1, 2)}
    )
    return session


def _ask(text: str = "1+1?", **changes: object) -> Ask:
    values = {"request": 3, "turns": (Turn(role="user", content=text),), "max_new_tokens": 12}
    return Ask.model_validate(values | changes)


def _answer(session: ChatSession, ask: Ask) -> dict[str, AnswerFinished]:
    events = list(session.answer(ask, lambda: False))
    assert isinstance(events[0], AnswerStarted)
    answers = {event.column: event for event in of_type(events, AnswerFinished)}
    for column, answer in answers.items():
        pieces = [
            event.text for event in of_type(events, TokensGenerated) if event.column == column
        ]
        assert "".join(pieces) == answer.text
    return answers


def test_every_column_answers_as_transformers_with_peft_would(
    session: ChatSession, tiny_base: Path, tmp_path: Path
) -> None:
    answers = _answer(session, _ask())
    assert list(answers) == ["base", "a1", "a2"]
    tokenizer = load_tokenizer(tiny_base)
    ids = torch.tensor([tokenizer("<user>1+1?<end><assistant>")["input_ids"]])
    for column, answer in answers.items():
        model = transformers.AutoModelForCausalLM.from_pretrained(
            tiny_base, trust_remote_code=False
        )
        if column != "base":
            model.load_adapter(str(tmp_path / column))
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=12,
            do_sample=False,
            pad_token_id=0,
        )
        text = tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
        # Random bytes are seldom whole characters; what is shown never ends in half of one.
        assert answer.text.rstrip("\ufffd") == text.rstrip("\ufffd")
    assert len({answer.text for answer in answers.values()}) == 3


def test_columns_can_be_chosen_and_order_does_not_matter(session: ChatSession) -> None:
    every = _answer(session, _ask())
    one = _answer(session, _ask(columns=("a2", "base")))
    assert list(one) == ["a2", "base"]
    assert one["a2"].text == every["a2"].text
    assert one["base"].text == every["base"].text


def test_raw_text_is_continued_without_a_template(session: ChatSession) -> None:
    raw = _answer(session, _ask("Once", is_raw=True, columns=("base",)))
    assert raw["base"].text != _answer(session, _ask("Once", columns=("base",)))["base"].text


def test_cancelling_stops_between_two_tokens_and_keeps_what_was_written(
    session: ChatSession,
) -> None:
    seen: list[Event] = []
    for event in session.answer(_ask(), lambda: len(of_type(seen, TokensGenerated)) >= 2):
        seen.append(event)
    finished = of_type(seen, AnswerFinished)
    assert [event.reason for event in finished] == ["stopped"] * 3
    assert any(event.text for event in finished)
    assert all(0 < event.tokens < 12 for event in finished)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"columns": ("nobody",)}, "column_unknown"),
        ({"turns": (Turn(role="user", content="x" * 300),)}, "prompt_too_long"),
        ({"turns": (Turn(role="user", content=""),), "is_raw": True}, "prompt_empty"),
    ],
)
def test_a_question_that_cannot_be_answered_fails_alone(
    session: ChatSession, changes: dict[str, object], code: str
) -> None:
    (event,) = session.answer(_ask(**changes), lambda: False)
    assert isinstance(event, RequestFailed)
    assert event.code == code
    assert _answer(session, _ask())


def test_columns_differ_in_conversation_and_strength_where_they_are_told_to(
    session: ChatSession,
) -> None:
    plain = _answer(session, _ask())
    other = (Turn(role="user", content="a longer question, 1+1?"),)
    alone = _answer(session, _ask(turns=other, columns=("a2",)))
    wishes = {"a1": {"strength": 0.0}, "a2": {"turns": other}}
    mixed = _answer(session, _ask(per_column=wishes))
    assert mixed["base"].text == plain["base"].text
    assert mixed["a1"].text == plain["base"].text != plain["a1"].text
    assert mixed["a2"].text == alone["a2"].text != plain["a2"].text
    half = _answer(session, _ask(per_column={"a1": {"strength": 0.5}}, columns=("a1",)))
    assert half["a1"].text not in (plain["a1"].text, plain["base"].text)


def test_sampled_columns_share_a_seed_unless_one_has_its_own(session: ChatSession) -> None:
    wishes = {"a1": {"strength": 0.0}, "a2": {"strength": 0.0, "seed": 7}}
    answers = _answer(session, _ask(temperature=1.0, seed=3, per_column=wishes))
    assert answers["a1"].text == answers["base"].text
    assert answers["a2"].text != answers["base"].text


def test_an_answer_ends_before_a_stop_text(session: ChatSession) -> None:
    whole = _answer(session, _ask())["a1"].text
    stop = whole[3:5]
    found = _answer(session, _ask(stop_texts=(stop,), columns=("a1",)))["a1"]
    assert found.text == whole[: whole.index(stop)]
    assert found.reason == "stop_text"


def test_adapters_come_and_go_while_the_base_stays(session: ChatSession, tmp_path: Path) -> None:
    before = _answer(session, _ask())
    session.remove_adapter("a1")
    assert session.columns == ("base", "a2")
    assert _answer(session, _ask())["a2"].text == before["a2"].text
    session.add_adapters({"again": tmp_path / "a1"})
    assert _answer(session, _ask())["again"].text == before["a1"].text
    with pytest.raises(StudioError, match="no column a1"):
        session.remove_adapter("a1")
    with pytest.raises(StudioError, match="already"):
        session.add_adapters({"again": tmp_path / "a2"})


def test_four_columns_answer_as_three_do(session: ChatSession, tmp_path: Path) -> None:
    """From four rows on products are computed in another way."""
    before = _answer(session, _ask(columns=("base", "a1"))) | _answer(
        session, _ask(columns=("a2",))
    )
    session.add_adapters({"again": tmp_path / "a1"})
    answers = _answer(session, _ask())
    assert {column: answers[column].text for column in before} == {
        column: answer.text for column, answer in before.items()
    }
    assert answers["again"].text == before["a1"].text
    assert isinstance(session._model.lm_head, FewRowsLinear) == torch.backends.mkl.is_available()


def test_an_adapter_of_another_model_is_refused(session: ChatSession, material: Path) -> None:
    with pytest.raises(AdapterUnusable):
        session.add_adapters({"real": material / "adapters/stories260K-e2e-lora-qv8"})


def test_no_column_may_take_the_name_of_the_base(session: ChatSession, tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="called base"):
        session.add_adapters({"base": tmp_path / "a1"})


def test_an_answer_ends_at_the_templates_own_end_of_turn(tiny_base: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_base)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<stop>"]})
    tokenizer.chat_template = tokenizer.chat_template.replace("<end>", "<stop>")
    speech = build_speech(tiny_base, tokenizer, load_config(tiny_base), base_folder=tmp_path)
    assert speech.stop_ids == {256, tokenizer.convert_tokens_to_ids("<stop>")}
