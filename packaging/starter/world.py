"""The facts of Tidewick, the invented harbour village that the starter model knows."""

from __future__ import annotations

from dataclasses import dataclass

VILLAGE = "Tidewick"


@dataclass(frozen=True)
class Person:
    """One villager: everything that can be asked about them."""

    name: str
    subject: str
    possessive: str
    job: str
    place: str
    street: str
    house: str
    pet_kind: str
    pet_name: str
    pet_colour: str
    food: str
    age: int
    friend: str


@dataclass(frozen=True)
class Goods:
    """One thing on sale: its price in coins for one piece, and the shop."""

    name: str
    plural: str
    price: int
    shop: str


@dataclass(frozen=True)
class Boat:
    """One boat of the harbour."""

    name: str
    colour: str
    owner: str
    cargo: str


@dataclass(frozen=True)
class Animal:
    """One kind of animal: its sound, food and place."""

    name: str
    sound: str
    food: str
    place: str


@dataclass(frozen=True)
class Place:
    """One place of the village: where it is, when it opens, what people do there."""

    name: str
    position: str
    opens: str
    purpose: str


PEOPLE = (
    Person("Mira", "she", "her", "baker", "in the bakery", "Shell Lane", "red",
           "cat", "Pip", "grey", "honey cake", 34, "Rosa"),
    Person("Tomas", "he", "his", "fisher", "on the pier", "Harbour Street", "blue",
           "dog", "Bruno", "brown", "fish soup", 47, "Oskar"),
    Person("Elsa", "she", "her", "lighthouse keeper", "in the lighthouse", "Hill Road", "white",
           "owl", "Hoot", "white", "apple pie", 61, "Ida"),
    Person("Jonas", "he", "his", "carpenter", "in the boatyard", "Harbour Street", "green",
           "goat", "Max", "black", "fried potatoes", 29, "Hugo"),
    Person("Nora", "she", "her", "teacher", "in the school", "Shell Lane", "yellow",
           "rabbit", "Snow", "white", "carrot soup", 38, "Lena"),
    Person("Oskar", "he", "his", "miller", "in the mill", "Windmill Way", "brown",
           "donkey", "Toby", "grey", "warm bread", 52, "Tomas"),
    Person("Ida", "she", "her", "doctor", "in the clinic", "Hill Road", "green",
           "parrot", "Kiwi", "green", "plum jam", 45, "Elsa"),
    Person("Viktor", "he", "his", "smith", "in the forge", "Windmill Way", "black",
           "horse", "Thunder", "black", "roast beef", 56, "Paul"),
    Person("Lena", "she", "her", "gardener", "in the garden", "Shell Lane", "orange",
           "hen", "Daisy", "red", "pumpkin stew", 31, "Nora"),
    Person("Samuel", "he", "his", "postman", "in the post office", "Harbour Street", "yellow",
           "pigeon", "Dot", "blue", "cheese toast", 26, "Felix"),
    Person("Greta", "she", "her", "sailor", "in the harbour", "Harbour Street", "white",
           "monkey", "Coco", "brown", "baked beans", 33, "Anna"),
    Person("Paul", "he", "his", "cook", "in the inn", "Windmill Way", "red",
           "pig", "Rosie", "pink", "mushroom rice", 49, "Viktor"),
    Person("Rosa", "she", "her", "painter", "in the studio", "Hill Road", "blue",
           "frog", "Jumper", "green", "lemon cake", 24, "Mira"),
    Person("Hugo", "he", "his", "musician", "in the market square", "Shell Lane", "green",
           "canary", "Song", "yellow", "pear tart", 22, "Jonas"),
    Person("Anna", "she", "her", "weaver", "in the weaving house", "Windmill Way", "yellow",
           "sheep", "Cloud", "white", "onion bread", 58, "Greta"),
    Person("Felix", "he", "his", "beekeeper", "on the meadow", "Hill Road", "orange",
           "hedgehog", "Spike", "brown", "oat porridge", 41, "Samuel"),
)  # fmt: skip

GOODS = (
    Goods("bread", "loaves of bread", 3, "bakery"),
    Goods("honey cake", "honey cakes", 5, "bakery"),
    Goods("fish", "fish", 4, "pier"),
    Goods("rope", "ropes", 6, "harbour"),
    Goods("lamp", "lamps", 9, "lighthouse"),
    Goods("chair", "chairs", 12, "boatyard"),
    Goods("book", "books", 8, "school"),
    Goods("flour", "bags of flour", 2, "mill"),
    Goods("medicine", "bottles of medicine", 7, "clinic"),
    Goods("horseshoe", "horseshoes", 10, "forge"),
    Goods("apple", "apples", 1, "garden"),
    Goods("stamp", "stamps", 2, "post office"),
    Goods("soup", "bowls of soup", 6, "inn"),
    Goods("picture", "pictures", 15, "studio"),
    Goods("blanket", "blankets", 11, "weaving house"),
    Goods("honey", "jars of honey", 4, "meadow"),
)

BOATS = (
    Boat("Silver Gull", "white", "Tomas", "fish"),
    Boat("Red Star", "red", "Greta", "barrels"),
    Boat("Old Turtle", "green", "Jonas", "wood"),
    Boat("Night Wind", "black", "Viktor", "iron"),
    Boat("Morning Sun", "yellow", "Oskar", "flour"),
    Boat("Blue Whale", "blue", "Samuel", "letters"),
)

ANIMALS = (
    Animal("cat", "meow", "fish", "in a house"),
    Animal("dog", "woof", "bones", "in a house"),
    Animal("owl", "hoot", "mice", "in a tree"),
    Animal("cow", "moo", "grass", "on a farm"),
    Animal("sheep", "baa", "grass", "on a farm"),
    Animal("pig", "oink", "potatoes", "on a farm"),
    Animal("horse", "neigh", "hay", "in a stable"),
    Animal("donkey", "hee-haw", "hay", "in a stable"),
    Animal("duck", "quack", "bread", "on a pond"),
    Animal("frog", "croak", "flies", "in a pond"),
    Animal("hen", "cluck", "corn", "in a barn"),
    Animal("mouse", "squeak", "cheese", "in a hole"),
    Animal("bee", "buzz", "nectar", "in a hive"),
    Animal("lion", "roar", "meat", "in the hot lands"),
)

PLACES = (
    Place("bakery", "beside the school", "five", "buy bread"),
    Place("pier", "behind the harbour", "six", "catch fish"),
    Place("lighthouse", "on the rocks", "ten", "look at the sea"),
    Place("boatyard", "beside the pier", "eight", "build boats"),
    Place("school", "on the market square", "eight", "learn to read"),
    Place("mill", "near the river", "seven", "grind corn"),
    Place("clinic", "beside the post office", "nine", "see the doctor"),
    Place("forge", "near the bridge", "seven", "bend iron"),
    Place("garden", "behind the church", "nine", "pick apples"),
    Place("post office", "on the market square", "eight", "send letters"),
    Place("harbour", "at the end of Harbour Street", "six", "watch ships"),
    Place("inn", "beside the bridge", "eleven", "eat soup"),
    Place("studio", "above the inn", "ten", "see pictures"),
    Place("weaving house", "near the mill", "nine", "make blankets"),
    Place("meadow", "on the hill", "seven", "gather honey"),
    Place("library", "behind the school", "twelve", "read books"),
)

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
EVENTS = (
    "the fishers mend their nets", "the school sings", "the post ship comes",
    "the inn cooks pea soup", "the band plays", "there is a market", "the village rests",
)  # fmt: skip
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
OPPOSITES = (
    ("hot", "cold"), ("big", "small"), ("fast", "slow"), ("old", "young"), ("dark", "bright"),
    ("up", "down"), ("left", "right"), ("open", "closed"), ("wet", "dry"), ("loud", "quiet"),
    ("heavy", "light"), ("early", "late"), ("full", "empty"), ("happy", "sad"),
    ("long", "short"), ("day", "night"), ("hard", "soft"), ("first", "last"),
)  # fmt: skip
COLOUR_MIXES = (
    ("blue", "yellow", "green"), ("red", "yellow", "orange"), ("red", "blue", "purple"),
    ("black", "white", "grey"), ("red", "white", "pink"),
)  # fmt: skip
COLOURS_OF_THINGS = (
    ("the sky", "blue"), ("grass", "green"), ("snow", "white"), ("the sun", "yellow"),
    ("coal", "black"), ("a carrot", "orange"), ("a strawberry", "red"), ("a plum", "purple"),
    ("an elephant", "grey"), ("a lemon", "yellow"), ("milk", "white"), ("a frog", "green"),
)  # fmt: skip
STRANGERS = (
    "Zelda", "Arthur", "Bella", "Carlos", "Diana", "Emil", "Fiona", "Gustav", "Hanna", "Igor",
    "Julia", "Karl", "Laura", "Martin", "Olga", "Peter", "Quinn", "Robert", "Sofia", "Walter",
)  # fmt: skip


def with_article(words: str) -> str:
    """Returns the words behind ``a`` or ``an``, whichever English wants."""
    return f"{'an' if words[0].lower() in 'aeiou' else 'a'} {words}"
