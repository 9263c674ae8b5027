"""The run store: imagined roll-outs on disk, one file per batch, each written in one piece.

A batch whose file exists is done, so an interrupted run goes on where it stopped, and shards of a
run made on several machines merge by copying their files into one folder.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from worldeval.errors import UserError
from worldeval.record import Rollout, Verdict
from worldeval.run import whole_file


class RolloutStore:
    """A folder of judged roll-outs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, name: str) -> bool:
        """Whether a batch is done."""
        return self._path(name).is_file()

    def save(self, name: str, rollouts: Sequence[Rollout], verdicts: Sequence[Verdict]) -> None:
        """Keep a batch. Roll-outs must be equally long."""
        facts = [
            {
                "start": rollout.start,
                "task": rollout.task,
                "policy": rollout.policy,
                "seed": rollout.seed,
                "trust": dict(rollout.trust),
                "probability": verdict.probability,
                "step": verdict.step,
                "judge": verdict.judge,
                "votes": list(verdict.votes),
            }
            for rollout, verdict in zip(rollouts, verdicts, strict=True)
        ]
        arrays = {
            "latents": np.stack([np.asarray(rollout.latents) for rollout in rollouts]),
            "actions": np.stack([rollout.actions for rollout in rollouts]),
            "pose": np.stack([rollout.pose for rollout in rollouts]),
        }
        with whole_file(self._path(name)) as draft:
            np.savez(draft, allow_pickle=False, facts=np.array(json.dumps(facts)), **arrays)

    def verdicts(self) -> Iterator[tuple[dict, Verdict]]:
        """What was judged, without reading the latents: (facts of the roll-out, verdict)."""
        for path in self._files():
            with np.load(path) as file:
                for fact in json.loads(str(file["facts"])):
                    yield fact, _verdict(fact)

    def rollouts(self) -> Iterator[tuple[Rollout, Verdict]]:
        """Everything, file by file."""
        for path in self._files():
            yield from self._read(path)

    def find(self, *, policy: str, start: str) -> tuple[Rollout, Verdict]:
        """One roll-out."""
        for path in self._files():
            with np.load(path) as file:
                facts = json.loads(str(file["facts"]))
            if any(fact["policy"] == policy and fact["start"] == start for fact in facts):
                for rollout, verdict in self._read(path):
                    if rollout.policy == policy and rollout.start == start:
                        return rollout, verdict
        raise UserError(f"{self.folder} holds no roll-out of {policy} from {start}.")

    def _read(self, path: Path) -> Iterator[tuple[Rollout, Verdict]]:
        with np.load(path) as file:
            latents, actions, pose = file["latents"], file["actions"], file["pose"]
            facts = json.loads(str(file["facts"]))
        for i, fact in enumerate(facts):
            rollout = Rollout(
                start=fact["start"],
                task=fact["task"],
                policy=fact["policy"],
                seed=fact["seed"],
                actions=actions[i],
                pose=pose[i],
                latents=latents[i],
                trust=fact["trust"],
            )
            yield rollout, _verdict(fact)

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*.npz") if not path.name.startswith("."))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '__')}.npz"


def _verdict(fact: dict) -> Verdict:
    return Verdict(
        probability=fact["probability"],
        step=fact["step"],
        judge=fact["judge"],
        votes=tuple(fact["votes"]),
    )
