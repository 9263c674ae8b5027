"""Stale starts: a first frame that shows things elsewhere than every frame after it.

A simulator that moves an object after its last physics step, or a camera that still delivers the
picture from before the reset, records a first frame that belongs to another scene. Whatever begins
from it - a world model, a policy - cannot know where the object is.

What moves goes on moving; what jumps does so once. So we measure how much of the change from the
first frame to the second happens in cells that then stay as they are, and compare it with the same
share at the next steps of the same episode.
"""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from worldeval.axes import Array, Float
from worldeval.data.finding import DataFinding

STEPS = 6  # the first step, and those that it is compared with
VISIBLE = 2.0  # least change of a cell, of 255
STILL = 0.25  # of its change, below which a cell then counts as still
MARGIN = 0.02  # by which the share of the first step must be larger
EPISODES = 10  # fewer of one task are counted with the other small ones
OFTEN = 0.4  # of the episodes; one in STEPS would be chance
MUCH = 0.3  # of the change, on average


class StaleStarts:
    """Collect episodes, then tell in which tasks and views the first frame is stale."""

    def __init__(self) -> None:
        self._shares: dict[str, dict[str, list[Float[Array, " s"]]]] = {}
        self._first: dict[str, str] = {}  # of every task

    def add(self, episode: str, task: str, view: str, cells: Float[Array, "t c"]) -> None:
        """Add an episode's mean brightness by cell (0 to 255)."""
        if len(cells) < STEPS + 3:
            return
        self._shares.setdefault(view, defaultdict(list))[task].append(_jumps(cells))
        self._first.setdefault(task, episode)

    def findings(self) -> Iterator[DataFinding]:
        """One warning, if the first frames of some task and view differ from the rest.

        Only tasks with enough episodes are compared alone; the others are taken together.
        """
        found: dict[str, str] = {}
        tasks_found: list[str] = []
        for view, tasks in self._shares.items():
            small = [task for task, shares in tasks.items() if len(shares) < EPISODES]
            named = []
            for group in [[task] for task in tasks if task not in small] + [small]:
                shares = np.array([each for task in group for each in tasks[task]])
                if len(shares) >= EPISODES and _habit(shares):
                    name = group[0] if len(group) == 1 else f"{len(group)} tasks of few episodes"
                    named.append(f"{name} ({len(shares)} episodes)")
                    tasks_found += group
            if named:
                found[view] = ", ".join(named)
        if found:
            where = "; ".join(f"view {view} of {names}" for view, names in found.items())
            yield DataFinding(
                code="stale-start",
                severity="warning",
                episode=self._first[tasks_found[0]],
                field=", ".join(found),
                text=f"{where}: the first frame shows things elsewhere than all later ones. It was "
                "probably taken before the reset had its effect (in MuJoCo: call mj_forward before "
                "rendering; on a robot: discard the buffered frame). A world model cannot know "
                "from it where things are: record again, or leave out every first frame.",
            )


def _habit(shares: Float[Array, "e s"]) -> bool:
    """Whether the first step jumps in so many episodes, and so far, that it is not chance."""
    first, others = shares[:, 0], shares[:, 1:].max(1)
    often = (first > others + MARGIN).mean() >= OFTEN
    return bool(often and first.mean() >= MUCH)


def _jumps(cells: Float[Array, "t c"]) -> Float[Array, " s"]:
    """Share of the change of each of the first steps in cells that stay as they are afterwards."""
    change = np.abs(np.diff(cells[: STEPS + 3], axis=0))
    now, later = change[:STEPS], np.maximum(change[1 : STEPS + 1], change[2 : STEPS + 2])
    once = np.where((later < STILL * now) & (now > VISIBLE), now, 0.0).sum(1)
    return once / np.maximum(now.sum(1), 1e-6)
