"""Which film strips a person is asked to label next, and how each was drawn."""

import hashlib
from collections.abc import Sequence

from worldeval.runs.films import Filmstrip
from worldeval.runs.label_queue import LabelQueue
from worldeval.runs.labels import CHOSEN, IMPORTANT, RANDOM, EpisodeKey, Opinion

MODES = {
    IMPORTANT: "What matters most",
    RANDOM: "Random draw",
    CHOSEN: "All rendered films",
}


def asked_of(
    who: str,
    mode: str,
    strips: Sequence[Filmstrip],
    opinions: Sequence[Opinion],
    queue: LabelQueue,
    *,
    shared: float,
) -> list[Filmstrip]:
    """Return the film strips that a person has not labelled yet, in the order of asking.

    Args:
        who: the person.
        mode: one of `MODES`. Episodes that matter are asked for in the order of the queue, up to
            the first that is not rendered; all others in an order of the person's own, so that
            neighbours in the ranking are not shown in a row.
        shared: share of the episodes that every person labels, so that people can be compared; of
            the others, one label is enough. All rendered films are shown to everybody.
    """
    own = {opinion.key for opinion in opinions if opinion.who == who}
    said = {opinion.key for opinion in opinions}
    rendered = {strip.key: strip for strip in strips}
    if mode == IMPORTANT:
        order = []
        for episode in queue.episodes:
            if episode.key not in rendered and episode.key not in said:
                break
            order.append(episode.key)
    else:
        keys = [strip.key for strip in strips if strip.drawn or mode == CHOSEN]
        order = sorted(keys, key=lambda key: number(who, key))
    return [
        rendered[key]
        for key in order
        if key in rendered
        and key not in own
        and (mode == CHOSEN or key not in said or number("shared", key) < shared)
    ]


def number(salt: str, key: EpisodeKey) -> float:
    """Return a random number of an episode, in [0, 1), always the same."""
    digest = hashlib.sha256(repr((salt, key)).encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56


def drawn_as(mode: str, strip: Filmstrip) -> str:
    """Say how an episode that is labelled in a mode was drawn."""
    return RANDOM if mode == CHOSEN and strip.drawn else mode
