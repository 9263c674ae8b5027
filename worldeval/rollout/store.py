"""The run store: imagined roll-outs on disk, one file per batch, each written in one piece.

`NAME.npz` holds `facts` (JSON, a record per roll-out), `latents` (b t+1 v d h w, float16),
`actions` (b t a), `pose` (b t+1 p), `trust_SIGNAL` (b t) for every signal taken step by step
and, where the judge was asked, `evidence` (b t+1, float16): the calibrated probability of success
by each frame.

An episode that is in a file is done, so an interrupted run goes on where it stopped, and shards of
a run made on several machines merge by copying their files into one folder.
"""

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import time
from typing import Any

import numpy as np

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.record import Rollout, Verdict
from worldeval.run import whole_file

ARRAYS = ("latents", "actions", "pose")
BY_STEP = "trust_"  # before the names of arrays of trust signals
DAMAGED = "damaged"  # folder of files that could not be read
LEFT_OVER = 600.0  # seconds after which a file in the making is one that somebody left behind
# What reading a file that was cut short or changed on the disk can raise.
UNREADABLE = (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile)

Key = tuple[str, str, int]  # policy, start, seed: what an episode is known by


def pack(
    rollouts: Sequence[Rollout],
    verdicts: Sequence[Verdict],
    *,
    evidence: Float[Array, "b t"] | None = None,
) -> bytes:
    """A batch as the bytes of its file, to be written here or sent to where the store is.

    Roll-outs must be equally long.
    """
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
    for name in rollouts[0].trust_by_step:
        arrays[BY_STEP + name] = np.stack([rollout.trust_by_step[name] for rollout in rollouts])
    if evidence is not None:
        arrays["evidence"] = np.asarray(evidence, np.float16)
    made = io.BytesIO()
    np.savez(made, allow_pickle=False, facts=np.array(json.dumps(facts)), **arrays)
    return made.getvalue()


class RolloutStore:
    """A folder of judged roll-outs. Each episode counts once, in whichever files it stands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, name: str) -> bool:
        """Whether a batch is done."""
        return self._path(name).is_file()

    def save(self, name: str, rollouts: Sequence[Rollout], verdicts: Sequence[Verdict]) -> None:
        """Keep a batch. Roll-outs must be equally long."""
        self.add(name, pack(rollouts, verdicts))

    def add(self, name: str, packed: bytes) -> None:
        """Keep a packed batch: whole and on the disk, or not at all."""
        with whole_file(self._path(name), durable=True) as draft:
            draft.write_bytes(packed)

    def verdicts(self) -> Iterator[tuple[dict[str, Any], Verdict]]:
        """What was judged, without reading the latents: (facts of the roll-out, verdict)."""
        for _, facts, fresh in self._batches():
            for row in fresh:
                yield facts[row], _verdict(facts[row])

    def rollouts(self) -> Iterator[tuple[Rollout, Verdict]]:
        """Everything, file by file."""
        for path, facts, fresh in self._batches():
            yield from _rollouts(path, facts, fresh)

    def find(self, *, policy: str, start: str) -> tuple[Rollout, Verdict]:
        """One roll-out."""
        for path, facts, fresh in self._batches():
            for row in fresh:
                if facts[row]["policy"] == policy and facts[row]["start"] == start:
                    return next(_rollouts(path, facts, [row]))
        raise UserError(f"{self.folder} holds no roll-out of {policy} from {start}.")

    def done(self) -> dict[Key, float]:
        """The probability that every episode in the store was given."""
        return {key_of(fact): verdict.probability for fact, verdict in self.verdicts()}

    def files(self) -> list[Path]:
        """The files of batches, in the order of their names."""
        return sorted(path for path in self.folder.glob("*.npz") if not path.name.startswith("."))

    def mend(self) -> list[Path]:
        """Set aside what cannot be read, so that it is done again; returns those files.

        Also removes files in the making that a killed process left behind.
        """
        damaged = []
        for path in self.files():
            try:
                _check(path)
            except UNREADABLE:
                damaged.append(self.set_aside(path, DAMAGED))
        for draft in self.folder.glob(".*.part.npz"):
            if time() - draft.stat().st_mtime > LEFT_OVER:
                draft.unlink(missing_ok=True)
        return damaged

    def set_aside(self, path: Path, where: str) -> Path:
        """Move a file of the store to its folder `where`, in which nothing is counted."""
        (self.folder / where).mkdir(exist_ok=True)
        return path.rename(self.folder / where / path.name)

    def leave_out(self, policy: str, where: str) -> int:
        """Set aside what was imagined of a policy; returns how many episodes those were.

        A batch has one policy, so whole files go.
        """
        count = 0
        for path in self.files():
            facts = _facts(path)
            if any(fact["policy"] == policy for fact in facts):
                count += len(facts)
                self.set_aside(path, where)
        return count

    def _batches(self) -> Iterator[tuple[Path, list[dict[str, Any]], list[int]]]:
        """Every file, its facts, and the rows of episodes that no file before it holds."""
        seen: set[Key] = set()
        for path in self.files():
            facts = _facts(path)
            fresh = [row for row, fact in enumerate(facts) if key_of(fact) not in seen]
            seen.update(key_of(fact) for fact in facts)
            yield path, facts, fresh

    def _path(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '__')}.npz"


def key_of(fact: dict[str, Any]) -> Key:
    """What an episode is known by."""
    return fact["policy"], fact["start"], int(fact["seed"])


def _facts(path: Path) -> list[dict[str, Any]]:
    try:
        with zipfile.ZipFile(path) as file:
            return _told(file)
    except UNREADABLE as error:
        raise UserError(
            f"{path} is damaged ({error}). The command that made it sets it aside and does its "
            "episodes again."
        ) from error


def _check(path: Path) -> None:
    """Raise one of UNREADABLE unless the file is whole. Arrays are not read, their sizes are."""
    # A zip file's list of contents stands at its end: a file that was cut has none.
    with zipfile.ZipFile(path) as file:
        for name in ARRAYS:
            file.getinfo(f"{name}.npy")
        for fact in _told(file):
            key_of(fact)
            _verdict(fact)


def _told(file: zipfile.ZipFile) -> list[dict[str, Any]]:
    # Not by np.load, which leaves the file open where this raises.
    with file.open("facts.npy") as member:
        return json.loads(str(np.lib.format.read_array(member, allow_pickle=False)))


def _rollouts(
    path: Path, facts: list[dict[str, Any]], rows: Sequence[int]
) -> Iterator[tuple[Rollout, Verdict]]:
    if not rows:
        return
    with np.load(path) as file:
        latents, actions, pose = (file[name] for name in ARRAYS)
        named = [name for name in file.files if name.startswith(BY_STEP)]
        by_step = {name.removeprefix(BY_STEP): file[name] for name in named}
    for row in rows:
        fact = facts[row]
        rollout = Rollout(
            start=fact["start"],
            task=fact["task"],
            policy=fact["policy"],
            seed=fact["seed"],
            actions=actions[row],
            pose=pose[row],
            latents=latents[row],
            trust=fact["trust"],
            trust_by_step={name: signal[row] for name, signal in by_step.items()},
        )
        yield rollout, _verdict(fact)


def _verdict(fact: dict[str, Any]) -> Verdict:
    return Verdict(
        probability=fact["probability"],
        step=fact["step"],
        judge=fact["judge"],
        votes=tuple(fact["votes"]),
    )
