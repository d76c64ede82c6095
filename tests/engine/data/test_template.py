"""Rendering and finding answers, against spans made by hand and against generation tags."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from studio.core.errors import FileUnusable
from studio.engine.data.answers import TemplateRefused
from studio.engine.data.conversation import Conversation, Role, Turn
from studio.engine.data.plain_template import PlainTemplate
from studio.engine.data.template import JinjaTemplate, build_template
from studio.engine.data.tokenize import Encoder, TextToEncode

HEADED = (
    "{%- for m in messages %}{{- '[' + m.role + ']' + CONTENT + END }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '[assistant]' }}{%- endif %}"
)


def talk(*contents: str, system: str | None = None) -> Conversation:
    roles: tuple[Role, Role] = ("user", "assistant")
    turns = tuple(Turn(roles[i % 2], text) for i, text in enumerate(contents))
    return Conversation(turns if system is None else (Turn("system", system), *turns))


def headed(content: str = "m.content", end: str = "'<|im_end|>'") -> str:
    return HEADED.replace("CONTENT", content).replace("END", end)


def answers_of(tokenizer: Any, source: str, conversation: Conversation) -> list[str]:
    rendered = JinjaTemplate(tokenizer, source, "test").render(conversation)
    return [rendered.text[start:end] for start, end in rendered.answers]


def test_answers_end_with_their_end_of_turn(chat_tokenizer: Any) -> None:
    found = answers_of(chat_tokenizer, headed(), talk("q1", "a1", "q2", "a2"))
    assert found == ["a1<|im_end|>", "a2<|im_end|>"]


def test_line_breaks_behind_the_end_of_turn_are_not_trained(chat_tokenizer: Any) -> None:
    source = headed(end="'<|im_end|>\\n'")
    assert answers_of(chat_tokenizer, source, talk("q", "a")) == ["a<|im_end|>"]


def test_trimmed_answers_are_found_where_they_stand(chat_tokenizer: Any) -> None:
    found = answers_of(chat_tokenizer, headed("m.content | trim"), talk("q", "  a b \n", "q", "c"))
    assert found == ["a b<|im_end|>", "c<|im_end|>"]


def test_blanks_that_the_template_puts_before_an_answer_are_trained(chat_tokenizer: Any) -> None:
    source = headed("(' ' + m.content)")
    assert answers_of(chat_tokenizer, source, talk("q", "a")) == [" a<|im_end|>"]


def test_a_missing_end_of_turn_is_added(chat_tokenizer: Any) -> None:
    source = headed(end="'\\n'")
    template = JinjaTemplate(chat_tokenizer, source, "test")
    rendered = template.render(talk("q1", "a1", "q2", "a2"))
    assert rendered.text == "[user]q1\n[assistant]a1\n[user]q2\n[assistant]a2<|im_end|>\n"
    assert [rendered.text[slice(*span)] for span in rendered.answers] == ["a1", "a2<|im_end|>"]


def test_an_answer_that_looks_like_markers_is_still_found(chat_tokenizer: Any) -> None:
    odd = ["[user]q", "<", "a<|im_end|>", "[assistant]", "q2", "q1"]
    for answer in odd:
        found = answers_of(chat_tokenizer, headed(), talk("q1", answer, "q2", answer))
        assert found == [f"{answer}<|im_end|>"] * 2


def test_thoughts_that_are_left_out_of_history_do_not_confuse(chat_tokenizer: Any) -> None:
    source = (
        "{%- for m in messages %}{%- if m.role == 'assistant' %}"
        "{%- if loop.last %}{{- '[assistant]<think>' + m.content.split('</think>')[0] if '</think>'"
        " in m.content else '[assistant]<think></think>' }}"
        "{{- ('</think>' if '</think>' in m.content else '') + m.content.split('</think>')[-1] }}"
        "{%- else %}{{- '[assistant]' + m.content.split('</think>')[-1] }}{%- endif %}"
        "{{- '<|im_end|>' }}{%- else %}{{- '[user]' + m.content + '<|im_end|>' }}{%- endif %}"
        "{%- endfor %}{%- if add_generation_prompt %}{{- '[assistant]' }}"
        "{%- if enable_thinking is defined and not enable_thinking %}{{- '<think></think>' }}"
        "{%- endif %}{%- endif %}"
    )
    found = answers_of(chat_tokenizer, source, talk("q1", "t1</think>a1", "q2", "t2</think>a2"))
    assert found == ["a1<|im_end|>", "<think>t2</think>a2<|im_end|>"]
    # An empty thought is the template's way to ask without thinking: context, not answer.
    assert answers_of(chat_tokenizer, source, talk("q", "a")) == ["a<|im_end|>"]
    template = JinjaTemplate(chat_tokenizer, source, "test")
    question = Conversation((Turn("user", "q"),))
    assert template.prompt(question).endswith("[assistant]<think></think>")
    assert template.prompt(question, thinks=True).endswith("[assistant]")


def test_a_prompt_that_says_more_than_the_finished_text(chat_tokenizer: Any) -> None:
    source = headed().replace("'[assistant]' }}", "'[assistant]<think>\\n' }}")
    assert answers_of(chat_tokenizer, source, talk("q", "<thin")) == ["<thin<|im_end|>"]


def test_a_system_message_without_a_place_moves_into_the_question(chat_tokenizer: Any) -> None:
    refusing = "{%- if messages[0].role == 'system' %}{{- raise_exception('no') }}{%- endif %}"
    dropping = headed().replace("messages %}", "messages if m.role != 'system' %}")
    for source in (refusing + headed(), dropping):
        template = JinjaTemplate(chat_tokenizer, source, "test")
        rendered = template.render(talk("q", "a", system="Be kind."))
        assert rendered.text == "[user]Be kind.\n\nq<|im_end|>[assistant]a<|im_end|>"
        assert rendered.problems == ("system_merged",)
        prompt = template.prompt(Conversation(talk("q", system="Be kind.").turns))
        assert rendered.text.startswith(prompt)


def test_what_a_template_refuses_is_said_in_its_words(chat_tokenizer: Any) -> None:
    source = "{{- raise_exception('roles must alternate') }}"
    with pytest.raises(TemplateRefused, match="roles must alternate"):
        JinjaTemplate(chat_tokenizer, source, "test").render(talk("q", "a"))
    mute = "{%- for m in messages %}{{- m.role }}{%- endfor %}"
    with pytest.raises(TemplateRefused, match="does not write the answer"):
        JinjaTemplate(chat_tokenizer, mute, "test").render(talk("q", "a"))


def test_tool_calls_are_part_of_the_answer(chat_tokenizer: Any) -> None:
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    source = headed("(m.content or '') + (m.tool_calls | tojson if m.tool_calls else '')")
    turns = (
        Turn("user", "q"),
        Turn("assistant", None, {"tool_calls": [call]}),
        Turn("tool", "2"),
        Turn("assistant", "a"),
    )
    first, second = answers_of(chat_tokenizer, source, Conversation(turns))
    assert first.startswith("[{")
    assert first.endswith("]<|im_end|>")
    assert second == "a<|im_end|>"


def test_a_template_that_checks_its_tools_does_not_confuse(chat_tokenizer: Any) -> None:
    check = (
        "{%- for m in messages %}{%- if m.role == 'tool' and "
        "not messages[loop.index0 - 1].tool_calls %}"
        "{{- raise_exception('no call before the result') }}{%- endif %}{%- endfor %}"
    )
    source = check + headed("(m.content or '') + (m.tool_calls | string if m.tool_calls else '')")
    call = {"type": "function", "function": {"name": "add", "arguments": {}}}
    turns = (
        Turn("user", "q"),
        Turn("assistant", None, {"tool_calls": [call]}),
        Turn("tool", "2"),
        Turn("assistant", "a"),
    )
    first, second = answers_of(chat_tokenizer, source, Conversation(turns))
    assert "'add'" in first
    assert first.endswith("]<|im_end|>")
    assert second == "a<|im_end|>"


def test_a_prompt_that_the_template_refuses_is_found_by_exchange(chat_tokenizer: Any) -> None:
    closed = "{%- if messages[-1].role != 'assistant' %}{{- raise_exception('no') }}{%- endif %}"
    found = answers_of(chat_tokenizer, closed + headed(), talk("q1", "a1", "q2", "a2"))
    assert found == ["a1<|im_end|>", "a2<|im_end|>"]


def test_a_greeting_before_the_first_question_is_an_answer(chat_tokenizer: Any) -> None:
    greeting = Conversation((Turn("assistant", "hello"), *talk("q", "a").turns))
    found = answers_of(chat_tokenizer, headed(), greeting)
    assert found == ["hello<|im_end|>", "a<|im_end|>"]


def test_plain_writes_one_turn_after_the_other() -> None:
    rendered = PlainTemplate("</s>").render(talk("q1", "a1", "q2 ", "a2", system="s"))
    assert rendered.text == "s\nq1\na1</s>\nq2 a2</s>"
    assert [rendered.text[slice(*span)] for span in rendered.answers] == ["a1</s>", "a2</s>"]
    assert PlainTemplate("</s>").prompt(Conversation((Turn("user", "q1"),))) == "q1\n"
    assert PlainTemplate("").render(talk("q", "a")).problems == ("end_of_turn_unsupervised",)
    with pytest.raises(TemplateRefused):
        PlainTemplate("</s>").render(Conversation((Turn("assistant", None),)))


def test_the_recipe_chooses_the_template(
    chat_tokenizer: Any, base_tokenizer: Any, tmp_path: Path
) -> None:
    (tmp_path / "mine.jinja").write_text(headed(), encoding="utf-8")
    (tmp_path / "broken.jinja").write_text("{% if %", encoding="utf-8")
    assert isinstance(build_template("auto", chat_tokenizer, tmp_path), JinjaTemplate)
    assert isinstance(build_template("auto", base_tokenizer, tmp_path), PlainTemplate)
    assert isinstance(build_template("plain", chat_tokenizer, tmp_path), PlainTemplate)
    own = build_template("mine.jinja", base_tokenizer, tmp_path)
    assert own.render(talk("q", "a")).text == "[user]q<|im_end|>[assistant]a<|im_end|></s>"
    for name, said in (("none.jinja", "cannot be read"), ("broken.jinja", "not a valid")):
        with pytest.raises(FileUnusable, match=said):
            build_template(name, chat_tokenizer, tmp_path)


LINES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=25).filter(
    lambda text: bool(text.strip()) and "<|" not in text
)


LOOKS_LIKE_MARKS = st.lists(
    st.sampled_from(
        ["assistant", "user", "\n", "<|im_start|>", "<|im_end|>", "a", "<", "<|im_end|>\n", "q"]
    ),
    min_size=1,
    max_size=6,
).map("".join)
SAID = LINES | LOOKS_LIKE_MARKS.filter(lambda text: bool(text.strip()))


@pytest.fixture(scope="module")
def experienced(chat_tokenizer: Any) -> JinjaTemplate:
    """A template that sees the conversations of all examples."""
    return JinjaTemplate(chat_tokenizer, None, "own")


@settings(max_examples=300)
@given(contents=st.lists(SAID, min_size=2, max_size=8), system=st.none() | SAID)
@example(contents=["<|im_end|>\n", "0", "<|im_end|>", "0"], system=None)
def test_the_mask_equals_generation_tags(
    chat_tokenizer: Any, experienced: JinjaTemplate, contents: list[str], system: str | None
) -> None:
    conversation = talk(*contents[: len(contents) // 2 * 2], system=system)
    messages = [turn.as_message() for turn in conversation.turns]
    expected = chat_tokenizer.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    fresh = JinjaTemplate(chat_tokenizer, None, "own")
    for template in (fresh, fresh, experienced):  # what was learnt before must not mislead
        rendered = template.render(conversation)
        text = TextToEncode(rendered.text, rendered.answers)
        encoded = Encoder(chat_tokenizer).encode([text])[0]
        assert encoded.ids.tolist() == expected["input_ids"]
        assert encoded.supervised.astype(int).tolist() == expected["assistant_masks"]


def test_the_same_question_and_answer_twice_are_found_in_both_places(chat_tokenizer: Any) -> None:
    source = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{% if loop.last and m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}"
        "{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
    )
    template = JinjaTemplate(chat_tokenizer, source, "test")
    for conversation in (talk("a", "b"), talk("a", "b", "c", "d"), talk("hi", "x", "hi", "x")):
        rendered = template.render(conversation)
        answers = [f"{one.content}<|im_end|>" for one in conversation.turns[1::2]]
        assert [rendered.text[start:end] for start, end in rendered.answers] == answers
        starts = [start for start, _ in rendered.answers]
        assert starts == sorted(set(starts))


@settings(max_examples=60)
@given(contents=st.lists(LINES, min_size=2, max_size=6))
def test_supervised_tokens_decode_to_the_answers(
    base_tokenizer: Any, chat_tokenizer: Any, contents: list[str]
) -> None:
    conversation = talk(*contents[: len(contents) // 2 * 2])
    wanted = [turn.content or "" for turn in conversation.turns if turn.role == "assistant"]
    _check_decoded(chat_tokenizer, headed(), conversation, wanted, "<|im_end|>")
    _check_decoded(base_tokenizer, None, conversation, wanted, "</s>")


def _check_decoded(
    tokenizer: Any, source: str | None, talk_: Conversation, wanted: Sequence[str], end: str
) -> None:
    template = PlainTemplate(end) if source is None else JinjaTemplate(tokenizer, source, "test")
    rendered = template.render(talk_)
    encoded = Encoder(tokenizer).encode([TextToEncode(rendered.text, rendered.answers)])[0]
    for (first, behind), answer in zip(encoded.answers, wanted, strict=True):
        tokens = encoded.ids[first:behind]
        assert tokenizer.decode(tokens[-1:]) == end
        assert tokenizer.decode(tokens).strip() == (answer + end).strip()
