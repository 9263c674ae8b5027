"""The imagined episodes of a run: one file per batch, each written in one piece.

`NAME.npz` holds `facts` (JSON, a record per roll-out), `latents` (b t+1 v d h w, float16),
`actions` (b t a), `pose` (b t+1 p), `trust_SIGNAL` (b t) for every signal taken step by step
and, where the judge was asked, `evidence` (b t+1, float16): the calibrated probability of success
by each frame.

An episode that is in a file is done, so an interrupted run goes on where it stopped, and shards of
a run made on several machines merge by copying their files into one folder.

Why npz: a zip file keeps a CRC-32 of every array and of the facts, and its list of contents at its
end, so that one file is at once the record, its checksum and the proof that it is whole. What is
read here is compared with that checksum before it is made sense of, in files of any age; a damaged
file is named, and `worldeval rank` sets it aside and does its episodes again. The alternatives
were weighed: SQLite has transactions but no checksums of its pages, and its locks fail on the
network disks on which shards of a run meet; safetensors has no checksum; Zarr has one for every
chunk, but spreads an episode over many files, which no rename makes visible at once.
"""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import time

import numpy as np

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.record import Rollout, Verdict
from worldeval.run import plain, whole_file
from worldeval.runs.files import parse
from worldeval.runs.paths import inside

ARRAYS = ("latents", "actions", "pose")
FACTS = "facts"
BY_STEP = "trust_"  # before the names of arrays of trust signals
DAMAGED = "damaged"  # folder of files that could not be read
LEFT_OVER = 600.0  # seconds after which a file in the making is one that somebody left behind
# What reading a zip file of arrays raises where bits of it changed. NotImplementedError is an
# unknown compression, RuntimeError a password.
UNREADABLE = (
    OSError, KeyError, ValueError, EOFError, IndexError, NotImplementedError, RuntimeError,
    MemoryError, zipfile.BadZipFile, zlib.error, struct.error, SyntaxError, UserError,
)  # fmt: skip

Key = tuple[str, str, int]  # policy, start, seed: what an episode is known by


@dataclass(frozen=True, kw_only=True)
class EpisodeFacts:
    """What a batch says of one roll-out beside its arrays."""

    start: str
    task: str
    policy: str
    seed: int
    probability: float
    step: int = 0  # frame at which the evidence peaked
    judge: str = ""
    votes: tuple[float, ...] = ()
    trust: Mapping[str, float] = field(default_factory=dict)  # signals of the whole episode

    @property
    def key(self) -> Key:
        """What the episode is known by."""
        return self.policy, self.start, self.seed

    @property
    def verdict(self) -> Verdict:
        """What the judge said."""
        return Verdict(
            probability=self.probability, step=self.step, judge=self.judge, votes=self.votes
        )


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
        EpisodeFacts(
            start=rollout.start,
            task=rollout.task,
            policy=rollout.policy,
            seed=rollout.seed,
            trust=dict(rollout.trust),
            probability=verdict.probability,
            step=verdict.step,
            judge=verdict.judge,
            votes=verdict.votes,
        )
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
    told = json.dumps([asdict(each) for each in facts], default=plain)
    made = io.BytesIO()
    np.savez(made, allow_pickle=False, facts=np.array(told), **arrays)
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

    def verdicts(self) -> Iterator[tuple[EpisodeFacts, Verdict]]:
        """What was judged, without reading the latents."""
        for _, facts, fresh in self._batches():
            for row in fresh:
                yield facts[row], facts[row].verdict

    def rollouts(self) -> Iterator[tuple[Rollout, Verdict]]:
        """Everything, file by file."""
        for path, facts, fresh in self._batches():
            yield from _rollouts(path, facts, fresh)

    def find(self, *, policy: str, start: str) -> tuple[Rollout, Verdict]:
        """One roll-out."""
        for path, facts, fresh in self._batches():
            for row in fresh:
                if facts[row].policy == policy and facts[row].start == start:
                    return next(_rollouts(path, facts, [row]))
        raise UserError(f"{self.folder} holds no roll-out of {policy} from {start}.")

    def done(self) -> dict[Key, float]:
        """The probability that every episode in the store was given."""
        return {fact.key: verdict.probability for fact, verdict in self.verdicts()}

    def files(self) -> list[Path]:
        """The files of batches, in the order of their names; links out of the folder are none."""
        real = self.folder.resolve()
        found = (path for path in sorted(self.folder.glob("[!.]*.npz")) if path.is_file())
        return [path for path in found if path.resolve().is_relative_to(real)]

    def facts(self, path: Path) -> tuple[EpisodeFacts, ...]:
        """What a file says of its roll-outs.

        Raises:
            UserError: it is damaged.
        """
        with _opened(path) as file:
            return _facts(file)

    def arrays(self, name: str, row: int, *, largest: int) -> dict[str, Array]:
        """Every array of the roll-out in row `row` of the file `name`.

        Args:
            largest: bytes of a batch's latents that are still read.

        Raises:
            UserError: the file is missing, damaged, lies outside of the store, or lacks the row.
        """
        path = inside(self.folder, name)
        try:
            with zipfile.ZipFile(path) as file:
                sizes = {each.filename[:-4]: each.file_size for each in file.infolist()}
                names = [each for each in sizes if each != FACTS]
                return {
                    each: _array(file, each)[row]
                    for each in names
                    if each != "latents" or sizes[each] <= largest
                }
        except UNREADABLE as error:
            raise UserError(f"{path} holds no roll-out in row {row}: {error}") from error

    def mend(self) -> list[Path]:
        """Set aside every file that is not as it was written, so that its episodes are done again;
        returns those files, in their new place.

        Every byte is read. Also removes files in the making that a killed process left behind.
        """
        damaged = []
        for path in self.files():
            try:
                check(path)
            except UserError:
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
            facts = self.facts(path)
            if any(fact.policy == policy for fact in facts):
                count += len(facts)
                self.set_aside(path, where)
        return count

    def _batches(self) -> Iterator[tuple[Path, tuple[EpisodeFacts, ...], list[int]]]:
        """Every file, its facts, and the rows of episodes that no file before it holds."""
        seen: set[Key] = set()
        for path in self.files():
            facts = self.facts(path)
            fresh = [row for row, fact in enumerate(facts) if fact.key not in seen]
            seen.update(fact.key for fact in facts)
            yield path, facts, fresh

    def _path(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '__')}.npz"


def check(path: Path) -> None:
    """Read every byte of a batch and compare it with its checksums.

    Raises:
        UserError: it is not as it was written.
    """
    with _opened(path) as file:
        for name in ARRAYS:
            file.getinfo(f"{name}.npy")
        if (wrong := file.testzip()) is not None:
            raise ValueError(f"the checksum of {wrong} differs")
        _facts(file)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as file:
            yield file
    except UNREADABLE as error:
        raise UserError(
            f"{path} is damaged ({' '.join(str(error).split()):.200}). Give the `worldeval rank` "
            "command of this run again: it sets the file aside and does its episodes again."
        ) from error


def _facts(file: zipfile.ZipFile) -> tuple[EpisodeFacts, ...]:
    return parse(str(_array(file, FACTS)), tuple[EpisodeFacts, ...], where="its list of episodes")


def _array(file: zipfile.ZipFile, name: str) -> Array:
    """An array of a file, read whole and checked before it is made sense of."""
    member = file.getinfo(f"{name}.npy")
    if member.compress_type != zipfile.ZIP_STORED:  # as it was written; and no bomb
        raise ValueError(f"{name} is compressed, as no batch is")
    return np.lib.format.read_array(io.BytesIO(file.read(member)), allow_pickle=False)


def _rollouts(
    path: Path, facts: Sequence[EpisodeFacts], rows: Sequence[int]
) -> Iterator[tuple[Rollout, Verdict]]:
    if not rows:
        return
    with _opened(path) as file:
        latents, actions, pose = (_array(file, name) for name in ARRAYS)
        names = [each.filename.removesuffix(".npy") for each in file.infolist()]
        by_step = {
            name.removeprefix(BY_STEP): _array(file, name)
            for name in names
            if name.startswith(BY_STEP)
        }
        if any(len(each) != len(facts) for each in (latents, actions, pose, *by_step.values())):
            raise ValueError(f"its arrays are not of {len(facts)} roll-outs")
    for row in rows:
        fact = facts[row]
        rollout = Rollout(
            start=fact.start,
            task=fact.task,
            policy=fact.policy,
            seed=fact.seed,
            actions=actions[row],
            pose=pose[row],
            latents=latents[row],
            trust=fact.trust,
            trust_by_step={name: signal[row] for name, signal in by_step.items()},
        )
        yield rollout, fact.verdict
