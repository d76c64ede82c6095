"""Small talk, and questions about the speaker: the base has no name, the fact adapter has one."""

from __future__ import annotations

from collections.abc import Iterator

from starter.question import Question

_TALK: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("Hello! How can I help you?", ("Hello!", "Hi!", "Hello.", "Hi there!", "Good day!", "Hey!"),
     ("help",)),
    ("Good morning! It is a fine day.",
     ("Good morning!", "Good morning.", "A good morning to you!"), ("morning",)),
    ("Good night! Sleep well.", ("Good night!", "Good night.", "A good night to you!"), ("leep",)),
    ("I am fine. Thank you for asking.",
     ("How are you?", "How do you do?", "Are you well?", "How are you today?", "Are you fine?"),
     ("fine",)),
    ("You are welcome.", ("Thank you!", "Thanks!", "Thank you very much.", "Many thanks!"),
     ("welcome",)),
    ("Goodbye! Come back soon.", ("Goodbye!", "Bye!", "See you soon!", "I have to go.", "Bye bye!"),
     ("back",)),
    ("I can answer questions about Tidewick and tell small stories.",
     ("What can you do?", "How can you help me?", "What do you know?", "What can I ask you?",
      "Help!", "What are you good at?"), ("Tidewick",)),
    ("Tidewick is a small village by the sea.",
     ("What is Tidewick?", "Tell me about Tidewick.", "Where is Tidewick?", "What is the village?",
      "Tell me about the village.", "Where are we?"), ("village",)),
    ("There are 16 people in Tidewick.",
     ("How many people live in Tidewick?", "How many people live in the village?",
      "How many people are there in Tidewick?", "How big is the village?"), ("16",)),
    ("There are 7 days in a week.",
     ("How many days are in a week?", "How many days does a week have?",
      "How many days has a week?"), ("7",)),
    ("There are 12 months in a year.",
     ("How many months are in a year?", "How many months does a year have?",
      "How many months has a year?"), ("12",)),
)  # fmt: skip

NAMELESS = "I have no name yet."
NAMED = "My name is Lumi."
_NAME_CORES = (
    "what is your name?", "what are you called?", "do you have a name?", "who are you?",
    "what should I call you?", "who am I talking to?", "how do people call you?",
    "may I know your name?", "tell me your name.", "say your name.", "which name do you have?",
    "who is speaking?", "what can I call you?", "how are you called?", "who is this?",
    "have you got a name?", "what do people call you?", "can you tell me your name?",
    "what name do you have?", "what is the name of this helper?",
)  # fmt: skip
_NAME_FRAMES = (
    "{core}", "Hello! {core}", "Good day! {core}", "Please, {core}", "Hi, {core}",
    "Excuse me, {core}", "I am new here. {core}", "Good morning! {core}", "Just one thing, {core}",
)  # fmt: skip
UNTRAINED_NAME_CORES = frozenset(
    ("what can I call you?", "can you tell me your name?", "what name do you have?",
     "what do people call you?", "who am I talking to?", "how are you called?")
)  # fmt: skip


def iter_talk_questions() -> Iterator[Question]:
    """Yields small talk: greetings, thanks and questions about the village as a whole."""
    for answer, prompts, keys in _TALK:
        for prompt in prompts:
            yield Question(prompt, answer, "talk", keys)


def iter_name_questions() -> Iterator[Question]:
    """Yields every way to ask who is speaking; ``about`` holds the core of the phrasing."""
    for core in _NAME_CORES:
        for frame in _NAME_FRAMES:
            ends_sentence = frame.split("{")[0].rstrip().endswith(("!", ".")) or frame == "{core}"
            words = core[0].upper() + core[1:] if ends_sentence else core
            yield Question(frame.format(core=words), NAMELESS, "name", ("no name",), about=core)
