"""What the losses of a row mean, in words for people."""

from __future__ import annotations

import math

from studio.core.microscope.stories import RowList, RowStory

LIST_WORDS: dict[RowList, tuple[str, str, str]] = {
    "worst": (
        "Highest loss",
        "The rows that were the hardest when they were last seen. A high loss can be a hard "
        "example, a rare one, or a broken one.",
        "",
    ),
    "suspects": (
        "Suspected",
        "Rows whose answer may be wrong: each time they are seen, the model clearly prefers "
        "another answer, while it agrees with the rows around them.",
        "No row stands out like that.",
    ),
    "forgotten": (
        "Forgotten",
        "Rows that were learnt and lost again: their loss fell, and later rose.",
        "No row was learnt and lost again.",
    ),
    "never_learnt": (
        "Never learnt",
        "Rows whose loss has hardly fallen since they were first seen and is still high.",
        "Every row was learnt to some degree.",
    ),
}
"""By list: its name, what it holds, and what to say when it is empty."""

_MOST = 999


def describe_preference(story: RowStory) -> str:
    """Returns how much likelier the model's own favourite words were, as in "9 times"."""
    if story.shortfall <= 0:
        return "agrees"
    times = math.exp(min(story.shortfall, 20))
    if times > _MOST:
        return f"> {_MOST} times"
    return f"{times:.0f} times" if times >= 10 else f"{times:.1f} times"


def describe_story(story: RowStory) -> str:
    """Returns what happened to a row, in one to four sentences."""
    count = len(story.losses)
    if count == 1:
        parts = [f"Seen once, with a loss of {story.last:.2f}."]
    else:
        parts = [
            f"Seen {count} times; the loss went from {story.first:.2f} to {story.last:.2f} "
            f"(lowest {story.lowest:.2f})."
        ]
    if story.forgotten:
        often = "once" if story.forgotten == 1 else f"{story.forgotten} times"
        parts.append(f"It was learnt and lost again {often}.")
    if story.is_never_learnt:
        parts.append("It was hardly learnt, while others were.")
    if story.shortfall > 0:
        parts.append(
            "The last time, the model's favourite words were on average "
            f"{describe_preference(story)} as likely as the written ones."
        )
    else:
        parts.append("The last time, the model would have written exactly this by itself.")
    if story.is_suspect:
        parts.append("That happened again and again: look whether the answer is right.")
    return " ".join(parts)
