"""Driven episodes on the disk: a run folder that the viewer lists and `worldeval film` can render.

Each episode is a batch of the run store, with its film strip beside it. They are never ranked.
"""

from collections.abc import Mapping
from pathlib import Path

from worldeval.axes import Array
from worldeval.record import Rollout, Verdict
from worldeval.runs.episodes import identity
from worldeval.runs.films import Filmstrip, write_filmstrip
from worldeval.runs.finding import DRIVEN
from worldeval.runs.origin import open_run
from worldeval.runs.paths import RunPaths, plain_name
from worldeval.runs.store import RolloutStore

UNJUDGED = Verdict(probability=0.5, step=0, judge="none")


class DriveRecorder:
    """Store episodes that were driven in one world model, in `root/driven/NAME`."""

    def __init__(self, root: Path, world: Path, *, name: str, judge: str = "") -> None:
        self._root, self._world, self._judge = root, world, judge
        self.folder = root / DRIVEN / plain_name(name)

    def __call__(
        self, rollout: Rollout, frames: Mapping[str, Array], verdict: Verdict | None
    ) -> str:
        """Store an episode and say where; a start that was driven before gets another number."""
        paths = RunPaths(self.folder)
        store = RolloutStore(paths.imagined)
        number = len(store.files())
        if not paths.facts.is_file():
            recipe = {"kind": DRIVEN, "world": str(self._world), "judge": self._judge}
            open_run(self.folder, recipe=recipe, seed=0, command="view")
        named = f"{rollout.start}, drive {number + 1}"
        kept = Rollout(
            start=named,
            task=rollout.task,
            policy=rollout.policy,
            seed=rollout.seed,
            actions=rollout.actions,
            pose=rollout.pose,
            latents=rollout.latents,
        )
        store.save(f"{number:05d}", [kept], [verdict or UNJUDGED])
        entry = Filmstrip(
            policy=kept.policy,
            task=kept.task,
            start=named,
            seed=kept.seed,
            probability=None if verdict is None else verdict.probability,
        )
        write_filmstrip(paths.films, entry, frames)
        where = self.folder.relative_to(self._root).as_posix()
        return (
            f"Recorded {len(kept.pose) - 1} frames as "
            f"'{identity(kept.policy, kept.task, named, kept.seed)}' in the run '{where}'; watch "
            "it on the page Roll-outs."
        )
