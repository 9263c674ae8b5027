"""Random cuts for training over a mixture of datasets: context, future and memory frames.

Which cut comes n-th in an epoch follows from the seed alone, so a training that stopped goes on at
n, any number of workers share an epoch by index, and a run can be repeated.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from worldeval.axes import Array, Bool, Float32, Int, UInt8
from worldeval.data.source import Source
from worldeval.data.weighted import shares
from worldeval.errors import UserError


@dataclass(frozen=True, kw_only=True)
class CutRecipe:
    """The shape of a cut. Its steps are `skip` recorded frames apart."""

    context: int = 2  # steps up to and with the newest known frame
    future: int = 6
    memory: int = 0  # frames from before the context, drawn at random
    skip: int = 1
    views: tuple[str, ...] = ()  # none named: those that all datasets have

    def __post_init__(self) -> None:
        if min(self.context, self.skip) < 1 or min(self.future, self.memory) < 0:
            raise ValueError("context and skip must be at least 1, future and memory at least 0")


@dataclass(frozen=True, kw_only=True)
class MixturePart:
    """A dataset of the mixture: which of its episodes, and how often it is drawn from."""

    source: Source
    weight: float = 1.0  # relative to the other parts, per cut
    episodes: Sequence[int] | None = None  # None: all


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Steps of one episode; where it has none any more, its first or last one with a false mask.

    Row t of `actions` holds all `skip` recorded actions from step t to the next, one after another.
    """

    frames: Mapping[str, UInt8[Array, "t h w 3"]]
    actions: Float32[Array, "t a"]
    pose: Float32[Array, "t p"]
    mask: Bool[Array, " t"]  # true where the step was recorded
    memory: Mapping[str, UInt8[Array, "m h w 3"]]
    memory_pose: Float32[Array, "m p"]
    memory_mask: Bool[Array, " m"]  # false where nothing came before the context
    task: str
    part: int  # of the mixture
    episode: str
    newest: int  # frame of the episode at which the context ends


class Mixture:
    """Datasets with equal dimensions, drawn from by weight."""

    def __init__(self, parts: Sequence[MixturePart], recipe: CutRecipe, *, seed: int) -> None:
        self.recipe, self.seed, self._parts = recipe, seed, tuple(parts)
        if not parts:
            raise UserError("A mixture needs datasets, with weights that are not negative.")
        sizes = {
            (len(part.source.spec.action_names), len(part.source.spec.pose_names)) for part in parts
        }
        if len(sizes) > 1:
            listed = ", ".join(
                f"{part.source.spec.path}: {len(part.source.spec.action_names)} and "
                f"{len(part.source.spec.pose_names)}"
                for part in parts
            )
            raise UserError(f"Dimensions of action and pose differ between datasets ({listed}).")
        self.views = self._common_views()
        self._episodes = [
            np.asarray(
                range(len(part.source)) if part.episodes is None else part.episodes, np.int64
            )
            for part in parts
        ]
        self._ends = [
            np.cumsum([part.source.heads[episode].length for episode in episodes], dtype=np.int64)
            for part, episodes in zip(parts, self._episodes, strict=True)
        ]
        self._shares = shares([part.weight for part in parts], self._frames())
        self.cuts = sum(self._frames())

    def __len__(self) -> int:
        """Cuts of an epoch: as many as there are frames."""
        return self.cuts

    def epoch(self, number: int, *, begin: int = 0) -> Iterator[Cut]:
        """The cuts of an epoch in order, from the `begin`-th on."""
        return (self.cut(number, index) for index in range(begin, self.cuts))

    def cut(self, epoch: int, index: int) -> Cut:
        """The `index`-th cut of an epoch."""
        part, row = self._order(epoch)[index]
        place = int(np.searchsorted(self._ends[part], row, side="right"))
        before = int(self._ends[part][place - 1]) if place else 0
        rng = np.random.default_rng([self.seed, epoch, index])
        episode = int(self._episodes[part][place])
        return self._read(int(part), episode, int(row) - before, rng)

    def _read(self, part: int, episode: int, newest: int, rng: np.random.Generator) -> Cut:
        source, recipe = self._parts[part].source, self.recipe
        head, rows = source.heads[episode], _rows(source, episode)
        steps = newest + recipe.skip * np.arange(1 - recipe.context, recipe.future + 1)
        inside = np.clip(steps, 0, head.length - 1)
        oldest = int(inside[0])
        remembered = np.sort(rng.integers(0, max(oldest, 1), recipe.memory))
        every = np.clip(inside[:, None] + np.arange(recipe.skip), 0, head.length - 1)
        # One reading of every view: neighbouring frames cost one pass of the decoder.
        wanted = np.concatenate([inside, remembered])
        frames = {view: source.frames(episode, view, wanted) for view in self.views}
        count = len(inside)
        return Cut(
            frames={view: read[:count] for view, read in frames.items()},
            actions=rows.actions[every].reshape(count, -1),
            pose=rows.pose[inside],
            mask=steps == inside,
            memory={view: read[count:] for view, read in frames.items()},
            memory_pose=rows.pose[remembered],
            memory_mask=np.full(recipe.memory, oldest > 0),
            task=head.task,
            part=part,
            episode=head.id,
            newest=newest,
        )

    def _order(self, epoch: int) -> Int[Array, "n 2"]:
        return _order(self.seed, epoch, self.cuts, tuple(self._shares), self._frames())

    def _frames(self) -> tuple[int, ...]:
        return tuple(int(ends[-1]) if len(ends) else 0 for ends in self._ends)

    def _common_views(self) -> tuple[str, ...]:
        sources = [part.source for part in self._parts]
        if self.recipe.views:
            for source in sources:
                source.choose(self.recipe.views)
            return self.recipe.views
        common = [v for v in sources[0].spec.views if all(v in s.spec.views for s in sources)]
        if not common:
            raise UserError("The datasets of the mixture share no view; name views in the recipe.")
        return tuple(common)


@lru_cache(maxsize=2)
def _order(
    seed: int, epoch: int, cuts: int, shares: tuple[float, ...], frames: tuple[int, ...]
) -> Int[Array, "n 2"]:
    """(part, frame of the part) of every cut: each part in a random order, again when used up."""
    rng = np.random.default_rng([seed, epoch])
    counts = np.floor(np.array(shares) * cuts).astype(int)
    counts[int(np.argmax(shares))] += cuts - counts.sum()
    pieces = []
    for part, (count, size) in enumerate(zip(counts, frames, strict=True)):
        rounds = -(-count // size) if count else 0
        rows = np.concatenate([np.empty(0, int), *(rng.permutation(size) for _ in range(rounds))])
        pieces.append(np.stack([np.full(count, part), rows[:count]], axis=1))
    order = np.concatenate(pieces)
    return order[rng.permutation(len(order))]


@lru_cache(maxsize=256)
def _rows(source: Source, episode: int):
    return source.rows(episode)
