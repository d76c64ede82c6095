"""Every template of the material with every tokenizer there: only answers are trained."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from studio.engine.data.answers import TemplateRefused
from studio.engine.data.conversation import Conversation, Turn
from studio.engine.data.template import JinjaTemplate
from studio.engine.data.tokenize import Encoded, Encoder, TextToEncode
from tests.engine.data.sentence_pieces import load_pieces

pytestmark = pytest.mark.material

TOKENIZERS = {
    "qwen2": "tokenizers/qwen2",
    "minimind": "tokenizers/minimind",
    "gpt2": "tokenizers/gpt2",
    "stories260K": "models/stories260K-hf",
    "mistral 1": "tokenizers/mistral/tokenizer.model.v1",
    "mistral 3": "tokenizers/mistral/mistral_instruct_tokenizer_240323.model.v3",
    "mistral 7": "tokenizers/mistral/mistral_instruct_tokenizer_241114.model.v7",
}

NEEDS_TOOLS = {
    "CohereForAI-c4ai-command-r-plus-tool_use": "loops over tools without asking whether any exist",
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": "loops over tools",
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": "loops over tools",
    "fireworks-ai-llama-3-firefunction-v2": "needs a variable named functions",
}
WRITES_BEFORE_ANSWER = {
    # The model itself has to write this; it is not in the prompt.
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": "<|START_RESPONSE|>",
    "meetkai-functionary-medium-v3.2": "all\n",
    "openai-gpt-oss-120b": "<|channel|>final<|message|>",
}
STOPS = {
    # Writes the next prompt behind every conversation, so only the stop token shows the end.
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": ("<|END_OF_TURN_TOKEN|>",),
}
GLUED_BY_FOREIGN_TOKENIZERS = {
    # </think> is one token for the model's own tokenizer; elsewhere ">The" can be one.
    "deepseek-ai-DeepSeek-V3.1",
}
NO_END_INSIDE = {
    # Nothing but a line break separates an answer from the next question in these.
    "amberchat",
    "chatqa",
    "falcon-instruct",
    "llama-cpp-rwkv-world",
    "solar-instruct",
    # <|return|> at the end, <|end|> inside: known only where the tokenizer has them as tokens.
    "openai-gpt-oss-120b",
}

QUESTIONS = ("Qxx first request", "Qxx second request", "Qxx third request")
ANSWERS = ("Reply alpha,\nline two", "Réply 2 βeta", "Reply gamma.")
SYSTEM = "Qxx speak like a pirate"


def _conversation(turns: int, system: bool) -> Conversation:
    said = [Turn("system", SYSTEM)] if system else []
    for question, answer in list(zip(QUESTIONS, ANSWERS, strict=True))[:turns]:
        said += [Turn("user", question), Turn("assistant", answer)]
    return Conversation(tuple(said))


@cache
def _tokenizer(folder: Path) -> Any:
    if folder.is_file():
        return load_pieces(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.eos_token is None:  # the bare GPT-2 files do not name it
        tokenizer.eos_token = "<|endoftext|>"  # noqa: S105 - a text mark, no password
    return tokenizer


def _template_files(material: Path) -> list[Path]:
    return sorted((material / "templates").glob("*/*.jinja"))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_only_answers_and_their_ends_are_trained(name: str, material: Path) -> None:
    tokenizer = _tokenizer(material / TOKENIZERS[name])
    checked = 0
    for path in _template_files(material):
        stem = path.stem
        if stem in NEEDS_TOOLS:
            continue
        template = JinjaTemplate(tokenizer, path.read_text("utf-8"), stem, STOPS.get(stem, ()))
        for turns in (1, 3):
            for system in (False, True):
                encoded = _encode(tokenizer, template, _conversation(turns, system))
                _check(tokenizer, encoded, turns, stem)
                checked += 1
    assert checked == 4 * (len(_template_files(material)) - len(NEEDS_TOOLS))


def _encode(tokenizer: Any, template: JinjaTemplate, conversation: Conversation) -> Encoded:
    rendered = template.render(conversation)
    assert "end_of_turn_unsupervised" not in rendered.problems
    text = TextToEncode(rendered.text, rendered.answers)
    encoded = Encoder(tokenizer).encode([text])[0]
    assert not encoded.problems
    return encoded


def _check(tokenizer: Any, encoded: Encoded, turns: int, stem: str) -> None:
    assert "Qxx" not in tokenizer.decode(encoded.ids[encoded.supervised])
    assert len(encoded.answers) == turns
    for index, (first, behind) in enumerate(encoded.answers):
        said = tokenizer.decode(encoded.ids[first:behind]).strip()
        # A foreign tokenizer can glue the answer's first letters to the mark before it.
        glued = next(n for n in range(5) if ANSWERS[index][n:] in said)
        before, _, after = said.partition(ANSWERS[index][glued:])
        assert glued == 0 or stem in GLUED_BY_FOREIGN_TOKENIZERS, (stem, said)
        assert WRITES_BEFORE_ANSWER.get(stem, "").endswith(before), (stem, said)
        assert len(after) < 60, (stem, after)
        assert "assistant" not in after.lower(), (stem, after)
        if stem in STOPS:
            assert STOPS[stem][0] in after
        elif index == turns - 1:
            ends = {tokenizer.eos_token_id, *_special_ids(tokenizer)}
            assert int(encoded.ids[behind - 1]) in ends
        elif stem not in NO_END_INSIDE:
            assert after.strip(), stem


def _special_ids(tokenizer: Any) -> set[int]:
    return {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}


@pytest.mark.parametrize("stem", NEEDS_TOOLS)
def test_templates_that_need_tools_say_so(stem: str, material: Path) -> None:
    tokenizer = _tokenizer(material / TOKENIZERS["qwen2"])
    path = next(path for path in _template_files(material) if path.stem == stem)
    template = JinjaTemplate(tokenizer, path.read_text("utf-8"), stem)
    with pytest.raises(TemplateRefused):
        template.render(_conversation(1, system=False))


@pytest.mark.parametrize("name", ["qwen2", "minimind"])
def test_tokens_are_those_of_the_tokenizers_own_template(name: str, material: Path) -> None:
    tokenizer = _tokenizer(material / TOKENIZERS[name])
    conversation = _conversation(2, system=True)
    messages = [turn.as_message() for turn in conversation.turns]
    template = JinjaTemplate(tokenizer, None, "own")
    theirs = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"]
    assert _encode(tokenizer, template, conversation).ids.tolist() == theirs


def test_thoughts_of_qwen3_follow_its_prompt(material: Path) -> None:
    tokenizer = _tokenizer(material / TOKENIZERS["qwen2"])
    source = (material / "templates/llama.cpp/Qwen-Qwen3-0.6B.jinja").read_text("utf-8")
    template = JinjaTemplate(tokenizer, source, "qwen3")
    thought = "<think>\nhm\n</think>\n\nfour"
    with_thought = Conversation((Turn("user", "2+2?"), Turn("assistant", thought)))
    rendered = template.render(with_thought)
    assert rendered.text[slice(*rendered.answers[0])] == f"{thought}<|im_end|>"
    without = Conversation((Turn("user", "2+2?"), Turn("assistant", "four")))
    rendered = template.render(without)
    assert rendered.text[slice(*rendered.answers[0])] == "four<|im_end|>"
    assert rendered.text.startswith(template.prompt(Conversation(without.turns[:1])))
