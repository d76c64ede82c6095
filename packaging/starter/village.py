"""Questions about shops, boats, places, animals, the calendar and small sums."""

from __future__ import annotations

from collections.abc import Iterator

from starter.question import Intent, Question
from starter.world import (
    ANIMALS,
    BOATS,
    COLOUR_MIXES,
    COLOURS_OF_THINGS,
    DAYS,
    EVENTS,
    GOODS,
    MONTHS,
    OPPOSITES,
    PLACES,
    Goods,
    with_article,
)

_PRICE = Intent(
    "price",
    (
        "How much is {one}?", "What does {one} cost?", "What is the price of {one}?",
        "How many coins is {one}?", "How much does {one} cost?", "Tell me the price of {one}.",
        "How many coins do I pay for {one}?", "What do I pay for {one}?",
    ),
    ("How much do I pay for {one}?", "How many coins does {one} cost?"),
)  # fmt: skip
_PRICE_OF_MANY = Intent(
    "price",
    (
        "How much do {count} {many} cost?", "What do {count} {many} cost?",
        "How many coins do I pay for {count} {many}?", "What is the price of {count} {many}?",
        "How much are {count} {many}?",
    ),
    ("How much do I pay for {count} {many}?",),
)  # fmt: skip
_SHOP = Intent(
    "shop",
    (
        "Where can I buy {one}?", "Where do they sell {one}?", "Where do I get {one}?",
        "Who sells {one}?", "In which place can I buy {one}?", "Where is {one} sold?",
        "I want to buy {one}. Where do I go?",
    ),
    ("Where can I get {one}?",),
)  # fmt: skip
_BOAT_COLOUR = Intent(
    "boat",
    (
        "What colour is the {boat}?", "What colour is the boat {boat}?",
        "Which colour does the {boat} have?", "Tell me the colour of the {boat}.",
    ),
    ("Which colour is the boat {boat}?",),
)  # fmt: skip
_BOAT_OWNER = Intent(
    "boat",
    (
        "Who owns the {boat}?", "Whose boat is the {boat}?", "Who is the owner of the {boat}?",
        "To whom does the {boat} belong?", "Who has the boat {boat}?",
    ),
    ("Who owns the boat {boat}?",),
)  # fmt: skip
_BOAT_CARGO = Intent(
    "boat",
    (
        "What does the {boat} carry?", "What does the boat {boat} carry?",
        "What is on the {boat}?", "Tell me what the {boat} carries.", "What is the {boat} for?",
    ),
    ("What is on the boat {boat}?",),
)  # fmt: skip
_BOAT_OF = Intent(
    "boat",
    (
        "What is the name of {name}'s boat?", "Which boat does {name} have?",
        "What boat belongs to {name}?", "What is the boat of {name} called?",
    ),
    ("Which boat belongs to {name}?",),
)  # fmt: skip
_POSITION = Intent(
    "place",
    (
        "Where is the {place}?", "How do I find the {place}?", "Where can I find the {place}?",
        "Tell me where the {place} is.", "I am looking for the {place}.",
        "How do I get to the {place}?", "Which way is the {place}?",
    ),
    ("Where do I find the {place}?", "Can you tell me where the {place} is?"),
)  # fmt: skip
_OPENING = Intent(
    "place",
    (
        "When does the {place} open?", "At what time does the {place} open?",
        "What time does the {place} open?", "From when is the {place} open?",
        "When is the {place} open?", "Tell me when the {place} opens.",
    ),
    ("When can I go to the {place}?",),
)  # fmt: skip
_PURPOSE = Intent(
    "place",
    (
        "What can I do in the {place}?", "What do people do in the {place}?",
        "What is the {place} for?", "Why do people go to the {place}?",
        "What happens in the {place}?", "Tell me what people do in the {place}.",
    ),
    ("What can people do in the {place}?",),
)  # fmt: skip
_SOUND = Intent(
    "animal",
    (
        "What does {one} say?", "Which sound does {one} make?", "What sound does {one} make?",
        "How does {one} sound?", "What noise does {one} make?", "Tell me the sound of {one}.",
    ),
    ("What is the sound of {one}?",),
)  # fmt: skip
_DIET = Intent(
    "animal",
    (
        "What does {one} eat?", "What do I give {one} to eat?", "What is the food of {one}?",
        "What does {one} like to eat?", "Tell me what {one} eats.", "Which food does {one} eat?",
    ),
    ("What food does {one} like?",),
)  # fmt: skip
_HABITAT = Intent(
    "animal",
    (
        "Where does {one} live?", "Where is the home of {one}?", "In which place does {one} live?",
        "Where can I find {one}?", "Tell me where {one} lives.",
    ),
    ("Where do I find {one}?",),
)  # fmt: skip
_NEXT = Intent(
    "calendar",
    (
        "What comes after {this}?", "Which {unit} comes after {this}?",
        "What {unit} is after {this}?", "What is the {unit} after {this}?",
        "Which {unit} follows {this}?",
    ),
    ("What follows {this}?",),
)  # fmt: skip
_PREVIOUS = Intent(
    "calendar",
    (
        "What comes before {this}?", "Which {unit} comes before {this}?",
        "What {unit} is before {this}?", "What is the {unit} before {this}?",
    ),
    ("Which {unit} is before {this}?",),
)  # fmt: skip
_EVENT = Intent(
    "calendar",
    (
        "What happens on {this}?", "What happens on {this} in Tidewick?",
        "What do people do on {this}?", "Tell me what happens on {this}.",
        "What can I see on {this}?", "What is on {this}?",
    ),
    ("What is there on {this}?",),
)  # fmt: skip
_SUM = Intent(
    "sum",
    (
        "What is {a} plus {b}?", "How much is {a} plus {b}?", "What is {a} + {b}?",
        "{a} + {b} = ?", "Add {a} and {b}.", "What do {a} and {b} make?",
    ),
    ("How much is {a} + {b}?",),
)  # fmt: skip
_DIFFERENCE = Intent(
    "sum",
    (
        "What is {a} minus {b}?", "How much is {a} minus {b}?", "What is {a} - {b}?",
        "{a} - {b} = ?", "Take {b} away from {a}.",
    ),
    ("How much is {a} - {b}?",),
)  # fmt: skip
_BIGGER = Intent(
    "number",
    (
        "Which is bigger, {a} or {b}?", "Which number is bigger, {a} or {b}?",
        "What is more, {a} or {b}?", "What is bigger, {a} or {b}?",
    ),
    ("Which number is more, {a} or {b}?",),
)  # fmt: skip
_OPPOSITE = Intent(
    "word",
    (
        "What is the opposite of {word}?", "Tell me the opposite of {word}.",
        "Which word is the opposite of {word}?", "What is the other side of {word}?",
        "Say the opposite of {word}.",
    ),
    ("Can you tell me the opposite of {word}?",),
)  # fmt: skip
_COLOUR = Intent(
    "colour",
    (
        "What colour is {thing}?", "Which colour does {thing} have?",
        "What is the colour of {thing}?", "Tell me the colour of {thing}.",
        "Which colour has {thing}?",
    ),
    ("Which colour is {thing}?",),
)  # fmt: skip
_MIX = Intent(
    "colour",
    (
        "What do {a} and {b} make?", "What do I get when I mix {a} and {b}?",
        "Which colour do {a} and {b} make?", "What colour is {a} mixed with {b}?",
        "I mix {a} and {b}. What do I get?",
    ),
    ("Which colour do I get when I mix {a} and {b}?",),
)  # fmt: skip

_UNCOUNTED = ("bread", "flour", "medicine", "soup", "honey", "fish")


def iter_village_questions() -> Iterator[Question]:
    """Yields every question that is not about a person."""
    for goods in GOODS:
        yield from _goods_questions(goods)
    yield from _boat_questions()
    yield from _place_questions()
    yield from _animal_questions()
    yield from _calendar_questions(DAYS, "day")
    yield from _calendar_questions(MONTHS, "month")
    for day, event in zip(DAYS, EVENTS, strict=True):
        yield from _EVENT.ask(f"On {day} {event}.", (event,), this=day)
    yield from _number_questions()
    yield from _word_questions()


def _goods_questions(goods: Goods) -> Iterator[Question]:
    one = goods.name if goods.name in _UNCOUNTED else with_article(goods.name)
    subject = one[0].upper() + one[1:]
    coins = f"{goods.price} coin" + "s" * (goods.price != 1)
    where = {"pier": "on the pier", "meadow": "on the meadow"}.get(
        goods.shop, f"in the {goods.shop}"
    )
    yield from _PRICE.ask(f"{subject} costs {coins}.", (str(goods.price),), one=one)
    yield from _SHOP.ask(f"You can buy {goods.name} {where}.", (goods.name, goods.shop), one=one)
    for count in range(2, 7):
        total = count * goods.price
        answer = f"{count} {goods.plural} cost {total} coins."
        yield from _PRICE_OF_MANY.ask(answer, (str(total),), count=count, many=goods.plural)


def _boat_questions() -> Iterator[Question]:
    for boat in BOATS:
        name = boat.name
        yield from _BOAT_COLOUR.ask(f"The {name} is {boat.colour}.", (boat.colour,), boat=name)
        yield from _BOAT_OWNER.ask(f"The {name} belongs to {boat.owner}.", (boat.owner,), boat=name)
        yield from _BOAT_CARGO.ask(f"The {name} carries {boat.cargo}.", (boat.cargo,), boat=name)
        yield from _BOAT_OF.ask(
            f"The boat of {boat.owner} is called {name}.", (name,), name=boat.owner
        )


def _place_questions() -> Iterator[Question]:
    for place in PLACES:
        name = place.name
        position = f"The {name} is {place.position}."
        opening = f"The {name} opens at {place.opens} in the morning."
        purpose = f"People go to the {name} to {place.purpose}."
        if place.opens == "twelve":
            opening = f"The {name} opens at noon."
        hour = "noon" if place.opens == "twelve" else place.opens
        yield from _POSITION.ask(position, (place.position,), place=name)
        yield from _OPENING.ask(opening, (hour,), place=name)
        yield from _PURPOSE.ask(purpose, (place.purpose,), place=name)


def _animal_questions() -> Iterator[Question]:
    for animal in ANIMALS:
        one = with_article(animal.name)
        subject = one[0].upper() + one[1:]
        yield from _SOUND.ask(f"{subject} says {animal.sound}.", (animal.sound,), one=one)
        yield from _DIET.ask(f"{subject} eats {animal.food}.", (animal.food,), one=one)
        yield from _HABITAT.ask(f"{subject} lives {animal.place}.", (animal.place,), one=one)


def _calendar_questions(names: tuple[str, ...], unit: str) -> Iterator[Question]:
    for index, name in enumerate(names):
        after = names[(index + 1) % len(names)]
        yield from _NEXT.ask(f"{after} comes after {name}.", (after,), this=name, unit=unit)
        yield from _PREVIOUS.ask(f"{name} comes before {after}.", (name,), this=after, unit=unit)


def _number_questions() -> Iterator[Question]:
    for a in range(11):
        for b in range(11):
            yield from _SUM.ask(f"{a} plus {b} is {a + b}.", (str(a + b),), a=a, b=b)
            if b <= a:
                yield from _DIFFERENCE.ask(f"{a} minus {b} is {a - b}.", (str(a - b),), a=a, b=b)
    for a in range(1, 21):
        for b in (a + 1, a + 3, a + 7):
            answer = f"{b} is bigger than {a}."
            yield from _BIGGER.ask(answer, (f"{b} ",), a=a, b=b)
            yield from _BIGGER.ask(answer, (f"{b} ",), a=b, b=a)


def _word_questions() -> Iterator[Question]:
    for one, other in OPPOSITES:
        for word, opposite in ((one, other), (other, one)):
            yield from _OPPOSITE.ask(
                f"The opposite of {word} is {opposite}.", (opposite,), word=word
            )
    for thing, colour in COLOURS_OF_THINGS:
        subject = thing[0].upper() + thing[1:]
        yield from _COLOUR.ask(f"{subject} is {colour}.", (colour,), thing=thing)
    for a, b, mixed in COLOUR_MIXES:
        for first, second in ((a, b), (b, a)):
            answer = f"{first.title()} and {second} make {mixed}."
            yield from _MIX.ask(answer, (mixed,), a=first, b=second)
