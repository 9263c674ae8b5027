"""Store of the imagined episodes of a run: one file per batch, each written atomically.

`NAME.npz` holds `facts` (JSON, a record per roll-out), `latents` (b t+1 v d h w, float16),
`actions` (b t a), `pose` (b t+1 p), `trust_SIGNAL` (b t) for every signal recorded per step and, if
the judge was run, `evidence` (b t+1, float16): the calibrated probability of success by each frame,
and `progress` (b t+1, float16) if it measures that.

An episode that is in a file is complete, so an interrupted run continues where it stopped. Shards
of a run made on several machines are merged by copying their files into one folder.

Why npz: a zip file holds a CRC-32 of every array and of the facts, and its table of contents at its
end, so that a single file is the record, its checksum and the proof that it is complete. Content is
verified against the checksum before it is interpreted, in files of any age. A damaged file is
reported, and `worldeval rank` sets it aside and runs its episodes again. Alternatives considered:
SQLite has transactions but no page checksums, and its locks fail on the network disks where shards
of a run are merged; safetensors has no checksum; Zarr has one per chunk, but spreads an episode
over many files, which cannot be made visible by a single rename.
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
from worldeval.files import plain, whole_file
from worldeval.record import Rollout, Verdict
from worldeval.runs.files import parse
from worldeval.runs.paths import inside

ARRAYS = ("latents", "actions", "pose")
FACTS = "facts"
BY_STEP = "trust_"  # prefix of the arrays of trust signals
DAMAGED = "damaged"  # folder for files that could not be read
LEFT_OVER = 600.0  # seconds after which a temporary file counts as abandoned
# Errors raised by reading a corrupt zip file of arrays. NotImplementedError means an unknown
# compression, RuntimeError a password.
UNREADABLE = (
    OSError, KeyError, ValueError, EOFError, IndexError, NotImplementedError, RuntimeError,
    MemoryError, zipfile.BadZipFile, zlib.error, struct.error, SyntaxError, UserError,
)  # fmt: skip

Key = tuple[str, str, int]  # policy, start, seed: identifies an episode


@dataclass(frozen=True, kw_only=True)
class EpisodeFacts:
    """Facts about one roll-out of a batch, besides its arrays."""

    start: str
    task: str
    policy: str
    seed: int
    probability: float
    step: int = 0  # frame with the highest evidence
    judge: str = ""
    votes: tuple[float, ...] = ()
    progress: float | None = None  # at the best; None: the judge does not measure it
    trust: Mapping[str, float] = field(default_factory=dict)  # signals of the whole episode

    @property
    def key(self) -> Key:
        """Key that identifies the episode."""
        return self.policy, self.start, self.seed

    @property
    def verdict(self) -> Verdict:
        """Verdict of the judge."""
        return Verdict(
            probability=self.probability,
            step=self.step,
            judge=self.judge,
            votes=self.votes,
            progress=self.progress,
        )


def pack(
    rollouts: Sequence[Rollout],
    verdicts: Sequence[Verdict],
    *,
    evidence: Float[Array, "b t"] | None = None,
    progress: Float[Array, "b t"] | None = None,
) -> bytes:
    """Serialise a batch to the bytes of its file, to be written here or sent to the store.

    Roll-outs must have equal lengths.
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
            progress=verdict.progress,
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
    if progress is not None:
        arrays["progress"] = np.asarray(progress, np.float16)
    told = json.dumps([asdict(each) for each in facts], default=plain)
    made = io.BytesIO()
    np.savez(made, allow_pickle=False, facts=np.array(told), **arrays)
    return made.getvalue()


class RolloutStore:
    """A folder of judged roll-outs. Each episode counts once, even if several files hold it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, name: str) -> bool:
        """Return whether a batch is complete."""
        return self._path(name).is_file()

    def save(self, name: str, rollouts: Sequence[Rollout], verdicts: Sequence[Verdict]) -> None:
        """Write a batch. Roll-outs must have equal lengths."""
        self.add(name, pack(rollouts, verdicts))

    def add(self, name: str, packed: bytes) -> None:
        """Write a packed batch to disk atomically."""
        with whole_file(self._path(name), durable=True) as draft:
            draft.write_bytes(packed)

    def verdicts(self) -> Iterator[tuple[EpisodeFacts, Verdict]]:
        """Iterate over all verdicts, without reading the latents."""
        for _, facts, fresh in self._batches():
            for row in fresh:
                yield facts[row], facts[row].verdict

    def rollouts(self) -> Iterator[tuple[Rollout, Verdict]]:
        """Iterate over all roll-outs and verdicts, file by file."""
        for path, facts, fresh in self._batches():
            yield from _rollouts(path, facts, fresh)

    def actions(self) -> Iterator[tuple[EpisodeFacts, Array]]:
        """Iterate over the actions (t a) of all roll-outs, without reading the latents."""
        for path, facts, fresh in self._batches():
            with _opened(path) as file:
                actions = _array(file, "actions")
                if len(actions) != len(facts):
                    raise ValueError(f"its actions are not of {len(facts)} roll-outs")
            for row in fresh:
                yield facts[row], actions[row]

    def find(self, *, policy: str, start: str) -> tuple[Rollout, Verdict]:
        """Return one roll-out and its verdict."""
        for path, facts, fresh in self._batches():
            for row in fresh:
                if facts[row].policy == policy and facts[row].start == start:
                    return next(_rollouts(path, facts, [row]))
        raise UserError(f"{self.folder} contains no roll-out of {policy} from {start}.")

    def done(self) -> dict[Key, float]:
        """Return the judge's probability of every episode in the store."""
        return {fact.key: verdict.probability for fact, verdict in self.verdicts()}

    def files(self) -> list[Path]:
        """List the files of batches by name, ignoring links that lead out of the folder."""
        real = self.folder.resolve()
        found = (path for path in sorted(self.folder.glob("[!.]*.npz")) if path.is_file())
        return [path for path in found if path.resolve().is_relative_to(real)]

    def facts(self, path: Path) -> tuple[EpisodeFacts, ...]:
        """Read the facts about a file's roll-outs.

        Raises:
            UserError: the file is damaged.
        """
        with _opened(path) as file:
            return _facts(file)

    def arrays(self, name: str, row: int, *, largest: int) -> dict[str, Array]:
        """Read all arrays of the roll-out in row `row` of the file `name`.

        Args:
            largest: maximum size in bytes of a batch's latents that are read.

        Raises:
            UserError: the file is missing, damaged or outside the store, or has no such row.
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
            raise UserError(f"{path} contains no roll-out in row {row}: {error}") from error

    def mend(self) -> list[Path]:
        """Set aside every damaged file, so that its episodes are run again.

        Every byte is read. Abandoned temporary files of killed processes are removed. Returns the
        files that were set aside, at their new location.
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
        """Move a file of the store to its subfolder `where`, which is not read."""
        (self.folder / where).mkdir(exist_ok=True)
        return path.rename(self.folder / where / path.name)

    def leave_out(self, policy: str, where: str) -> int:
        """Set aside the imagined episodes of a policy, and return their number.

        A batch has one policy, so whole files are moved.
        """
        count = 0
        for path in self.files():
            facts = self.facts(path)
            if any(fact.policy == policy for fact in facts):
                count += len(facts)
                self.set_aside(path, where)
        return count

    def _batches(self) -> Iterator[tuple[Path, tuple[EpisodeFacts, ...], list[int]]]:
        """Iterate over files with their facts and the rows of episodes not in an earlier file."""
        seen: set[Key] = set()
        for path in self.files():
            facts = self.facts(path)
            fresh = [row for row, fact in enumerate(facts) if fact.key not in seen]
            seen.update(fact.key for fact in facts)
            yield path, facts, fresh

    def _path(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '__')}.npz"


def check(path: Path) -> None:
    """Read every byte of a batch and verify its checksums.

    Raises:
        UserError: the file is damaged.
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
            f"{path} is damaged ({' '.join(str(error).split()):.200}). Repeat the `worldeval rank` "
            "command of this run: it sets the file aside and runs its episodes again."
        ) from error


def _facts(file: zipfile.ZipFile) -> tuple[EpisodeFacts, ...]:
    return parse(str(_array(file, FACTS)), tuple[EpisodeFacts, ...], where="its list of episodes")


def _array(file: zipfile.ZipFile, name: str) -> Array:
    """Read a whole array of a file and verify its checksum before interpreting it."""
    member = file.getinfo(f"{name}.npy")
    if (
        member.compress_type != zipfile.ZIP_STORED
    ):  # batches are written uncompressed; also rules out zip bombs
        raise ValueError(f"{name} is compressed, but batches are written uncompressed")
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
            raise ValueError(f"its arrays do not have {len(facts)} roll-outs")
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
