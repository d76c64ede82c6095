"""Questions about the people of the village and their pets."""

from __future__ import annotations

from collections.abc import Iterator

from starter.question import Intent, Question
from starter.world import PEOPLE, STRANGERS, VILLAGE, Person, with_article

_JOB = Intent(
    "job",
    (
        "What does {name} do?", "What is {name}'s job?", "What is the job of {name}?",
        "What work does {name} do?", "Which job does {name} have?", "What does {name} work as?",
        "Tell me the job of {name}.", "What is the work of {name}?",
    ),
    ("Tell me what {name} does.", "What job does {name} do?"),
    ("What does {subject} do?", "What is {possessive} job?"),
)  # fmt: skip
_WORKPLACE = Intent(
    "work",
    (
        "Where does {name} work?", "Where is {name} at work?", "In which place does {name} work?",
        "What is the workplace of {name}?", "Where is the work of {name}?",
        "Tell me where {name} works.", "Where can I find {name} at work?",
    ),
    ("Where is {name}'s workplace?",),
    ("Where does {subject} work?",),
)  # fmt: skip
_HOME = Intent(
    "home",
    (
        "Where does {name} live?", "In which street does {name} live?",
        "Where is the home of {name}?", "Where is {name}'s home?", "Tell me where {name} lives.",
        "Which street does {name} live in?", "On which street is the home of {name}?",
    ),
    ("What street does {name} live in?",),
    ("Where does {subject} live?", "Where is {possessive} home?"),
)  # fmt: skip
_HOUSE = Intent(
    "house",
    (
        "What colour is the house of {name}?", "What colour is {name}'s house?",
        "Which colour does the house of {name} have?", "What colour of house does {name} have?",
        "Tell me the colour of {name}'s house.", "What is the colour of the house of {name}?",
    ),
    ("Which colour is {name}'s house?",),
    ("What colour is {possessive} house?",),
)  # fmt: skip
_PET = Intent(
    "pet",
    (
        "What pet does {name} have?", "Which animal does {name} have?",
        "Does {name} have a pet?", "What is the pet of {name}?", "What is {name}'s pet?",
        "Tell me about the pet of {name}.", "Which pet does {name} have?",
        "What animal lives with {name}?",
    ),
    ("Does {name} have an animal?", "What animal does {name} have?"),
    ("Does {subject} have a pet?", "What pet does {subject} have?"),
)  # fmt: skip
_PET_NAME = Intent(
    "pet",
    (
        "What is the name of {name}'s {kind}?", "What is the {kind} of {name} called?",
        "How is {name}'s {kind} called?", "What is the {kind}'s name that {name} has?",
        "Tell me the name of {name}'s {kind}.", "What name does {name}'s {kind} have?",
    ),
    ("What is {name}'s {kind} called?",),
    ("What is {possessive} {kind} called?",),
)  # fmt: skip
_PET_COLOUR = Intent(
    "pet",
    (
        "What colour is {pet} the {kind}?", "What colour is {name}'s {kind}?",
        "What colour is the {kind} of {name}?", "What colour is the {kind} {pet}?",
        "Tell me the colour of {pet} the {kind}.", "Which colour does {pet} the {kind} have?",
    ),
    ("Which colour is {name}'s {kind}?",),
)  # fmt: skip
_PET_OWNER = Intent(
    "pet",
    (
        "Who has {a_kind}?", "Whose {kind} is {pet}?", "Who is the owner of {pet} the {kind}?",
        "To whom does {pet} the {kind} belong?", "Who owns {pet} the {kind}?",
        "Who has {a_kind} called {pet}?", "Whose pet is {pet}?", "Who in the village has {a_kind}?",
    ),
    ("Who owns the {kind}?", "Which person has {a_kind}?"),
)  # fmt: skip
_FOOD = Intent(
    "food",
    (
        "What does {name} like to eat?", "What is {name}'s favourite food?",
        "What food does {name} like best?", "What is the favourite food of {name}?",
        "Which food does {name} like?", "What does {name} like best?",
        "Tell me the favourite food of {name}.",
    ),
    ("Which food does {name} like best?",),
    ("What does {subject} like to eat?", "What is {possessive} favourite food?"),
)  # fmt: skip
_FOOD_LOVER = Intent(
    "food",
    (
        "Who likes {food}?", "Who likes {food} best?", "Whose favourite food is {food}?",
        "Who likes to eat {food}?", "Who in the village likes {food}?",
    ),
    ("Which person likes {food}?",),
)  # fmt: skip
_AGE = Intent(
    "age",
    (
        "How old is {name}?", "What is the age of {name}?", "What is {name}'s age?",
        "How many years old is {name}?", "Tell me the age of {name}.", "Which age is {name}?",
        "Tell me how old {name} is.",
    ),
    ("What age is {name}?",),
    ("How old is {subject}?", "What is {possessive} age?"),
)  # fmt: skip
_FRIEND = Intent(
    "friend",
    (
        "Who is the best friend of {name}?", "Who is {name}'s best friend?",
        "Who is {name}'s friend?", "Who is the friend of {name}?",
        "Tell me the best friend of {name}.", "Which friend does {name} have?",
        "Who does {name} like best?",
    ),
    ("Tell me who {name}'s best friend is.",),
    ("Who is {possessive} best friend?",),
)  # fmt: skip
_WHO_WORKS = Intent(
    "job",
    (
        "Who is the {job}?", "Who is the {job} of Tidewick?", "Who works as the {job}?",
        "What is the name of the {job}?", "Who is the {job} in the village?",
        "How is the {job} called?", "Which person is the {job}?", "Tell me who the {job} is.",
    ),
    ("What is the {job} called?", "Tell me the name of the {job}."),
)  # fmt: skip
_WHO_THERE = Intent(
    "work",
    (
        "Who works {place}?", "Who can I find {place}?", "Which person works {place}?",
        "Who is at work {place}?", "Tell me who works {place}.",
    ),
    ("Who in the village works {place}?",),
)  # fmt: skip
_ABOUT = Intent(
    "person",
    (
        "Who is {name}?", "Tell me about {name}.", "What do you know about {name}?",
        "Can you tell me about {name}?", "Who is that {name}?", "Do you know {name}?",
        "Tell me something about {name}.", "Who is this {name}?",
    ),
    ("Can you tell me who {name} is?",),
)  # fmt: skip
_STORY = Intent(
    "story",
    (
        "Tell me a story about {name}.", "Tell a story about {name}.",
        "Can you tell me a story about {name}?", "I want a story about {name}.",
        "Please tell me a short story about {name}.", "Write a story about {name}.",
        "Do you know a story about {name}?",
    ),
    ("Can you tell a short story about {name}?",),
)  # fmt: skip
_IS_JOB = Intent(
    "check",
    (
        "Is {name} the {job}?",
        "Is it true that {name} is the {job}?",
        "Does {name} work as the {job}?",
    ),
    ("Is the {job} {name}?",),
)
_HAS_PET = Intent(
    "check",
    (
        "Does {name} have {a_kind}?", "Is it true that {name} has {a_kind}?",
        "Has {name} got {a_kind}?",
    ),
    ("Is it true, does {name} have {a_kind}?",),
)  # fmt: skip
_STRANGER = Intent(
    "unknown",
    (
        "Who is {name}?", "Tell me about {name}.", "What does {name} do?", "How old is {name}?",
        "Where does {name} live?", "What pet does {name} have?", "What is {name}'s job?",
    ),
)  # fmt: skip


def iter_people_questions() -> Iterator[Question]:
    """Yields every question about every villager, and some about people nobody knows."""
    for index, person in enumerate(PEOPLE):
        yield from _questions_about(person)
        yield from _questions_with_yes_or_no(person, index)
        yield from _STORY.ask(
            _story(person, index), (person.name, person.pet_name), **_words(person)
        )
    for stranger in STRANGERS:
        answer = f"I do not know {stranger}. I only know the people of {VILLAGE}."
        yield from _STRANGER.ask(answer, ("not know", stranger), name=stranger)


def _words(person: Person) -> dict[str, str]:
    return {
        "name": person.name, "subject": person.subject, "possessive": person.possessive,
        "job": person.job, "place": person.place, "kind": person.pet_kind,
        "a_kind": with_article(person.pet_kind), "pet": person.pet_name, "food": person.food,
    }  # fmt: skip


def _questions_about(person: Person) -> Iterator[Question]:
    p, pet = person, f"{person.pet_colour} {person.pet_kind}"
    facts: tuple[tuple[Intent, str, tuple[str, ...]], ...] = (
        (_JOB, f"{p.name} is the {p.job}.", (p.name, p.job)),
        (_WORKPLACE, f"{p.name} works {p.place}.", (p.name, p.place)),
        (_HOME, f"{p.name} lives in {p.street}.", (p.name, p.street)),
        (_HOUSE, f"{p.name} has {with_article(p.house)} house.", (p.name, p.house)),
        (_PET, f"{p.name} has {with_article(pet)} called {p.pet_name}.", (pet, p.pet_name)),
        (_PET_NAME, f"The {p.pet_kind} of {p.name} is called {p.pet_name}.", (p.pet_name,)),
        (_PET_COLOUR, f"{p.pet_name} the {p.pet_kind} is {p.pet_colour}.", (p.pet_colour,)),
        (_PET_OWNER, f"{p.name} has {with_article(p.pet_kind)} called {p.pet_name}.", (p.name,)),
        (_FOOD, f"{p.name} likes {p.food} best.", (p.name, p.food)),
        (_FOOD_LOVER, f"{p.name} likes {p.food} best.", (p.name, p.food)),
        (_AGE, f"{p.name} is {p.age} years old.", (p.name, str(p.age))),
        (_FRIEND, f"The best friend of {p.name} is {p.friend}.", (p.friend,)),
        (_WHO_WORKS, f"{p.name} is the {p.job}.", (p.name, p.job)),
        (_WHO_THERE, f"{p.name} works {p.place}.", (p.name,)),
        (
            _ABOUT,
            f"{p.name} is the {p.job} of {VILLAGE}. "
            f"{p.subject.title()} works {p.place} and has {with_article(pet)} called {p.pet_name}.",
            (p.job, p.pet_name),
        ),
    )
    for intent, answer, keys in facts:
        yield from intent.ask(answer, keys, about=p.name, **_words(p))


def _questions_with_yes_or_no(person: Person, index: int) -> Iterator[Question]:
    """Each true fact beside three false ones, so that no is the more usual answer."""
    for distance in (0, 1, 5, 11):
        other = PEOPLE[(index + distance) % len(PEOPLE)]
        word = "No" if distance else "Yes"
        job = f"{word}, {person.name} is the {person.job}."
        pet = f"{word}, {person.name} has {with_article(person.pet_kind)}."
        yield from _IS_JOB.ask(job, (word, person.job), name=person.name, job=other.job)
        yield from _HAS_PET.ask(
            pet, (word, person.pet_kind), name=person.name, a_kind=with_article(other.pet_kind)
        )


def _story(person: Person, index: int) -> str:
    p = person
    opening = (
        f"One morning {p.name} the {p.job} woke up early.",
        f"One evening {p.name} the {p.job} walked to the sea.",
        f"On a rainy day {p.name} the {p.job} stayed at home.",
        f"One night {p.name} the {p.job} could not sleep.",
    )[index % 4]
    middle = (
        f"{p.pet_name} the {p.pet_kind} found a shiny shell on the beach.",
        f"{p.pet_name} the {p.pet_kind} was lost, but {p.friend} found the way home.",
        f"Then {p.friend} came with a big basket for {p.pet_name} the {p.pet_kind}.",
    )[index % 3]
    return f"{opening} {middle} In the end they all ate {p.food} and laughed."
