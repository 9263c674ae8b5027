"""Distance of start frames from those that a world model was validated or trained on.

A start is described, view by view, by blocks of numbers: the tokenizer's latents, the mean colours
of an 8 x 8 grid, and the edge strength of a 4 x 4 grid (log mean absolute Laplacian, which blur and
noise change). Probabilistic PCA (Tipping and Bishop 1999), fitted to each block task by task, gives
a Mahalanobis distance. The block `background` is the median deviation of the grid's colours, in
standard deviations: an object in a new place changes few cells, another light or camera most. The
distance of a start is the largest of its blocks' log distances, each standardised by its mean and
standard deviation over fitting starts that were left out in turn.

The distance is only a number: what is far is decided by starts that fitted nothing
(`stats.novelty`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from worldeval.axes import Array, Float
from worldeval.checked_weights import load_checked, save_checked
from worldeval.errors import UserError
from worldeval.record import Start
from worldeval.world.world import World

GRID, EDGES = 8, 4  # cells per side of the grids of colours and of edge strength
VARIANCE = 0.95  # share of the variance that principal components are to explain
COMPONENTS = 10  # at most, per block
FOLDS = 5
LEAST = 10  # fitting starts of a task; with fewer in any task, all tasks share one fit
FLOOR = 1e-8  # variance, so that constant numbers divide by something
CELL_FLOOR = 1e-5  # of a cell's mean colour: less than one step of 8 bits
BATCH = 64
WHOLE = "background"
EVERY_TASK = ""  # the name of a fit that all tasks share
WORDS = {"latent": "latents", "colour": "colours", "edge": "edges", "background": "background"}


@dataclass(frozen=True, kw_only=True)
class BlockFit:
    """What is usual in one block, and how the log distance is distributed.

    With k components it is probabilistic PCA; without, the median squared deviation of a number.
    """

    mean: Float[Array, " d"]
    basis: Float[Array, "k d"]
    variance: Float[Array, " n"]  # along the k components; without components, of every number
    rest: float  # variance per number outside the components
    centre: float  # mean and standard deviation of the log distance of left-out starts
    spread: float

    def log_distance(self, values: Float[Array, "n d"]) -> Float[Array, " n"]:
        """Compute the log of the squared distance per number."""
        gap = values - self.mean
        if not len(self.basis):
            return np.log(np.median(gap**2 / self.variance, axis=1) + 1e-12)
        along = gap @ self.basis.T
        across = np.maximum((gap**2).sum(1) - (along**2).sum(1), 0.0)
        total = (along**2 / self.variance).sum(1) + across / self.rest
        return np.log(total / len(self.mean) + 1e-12)

    def score(self, values: Float[Array, "n d"]) -> Float[Array, " n"]:
        """Standardise the log distance."""
        return (self.log_distance(values) - self.centre) / self.spread


@dataclass(frozen=True, kw_only=True)
class StartDistance:
    """How far one start is from the fitted starts, and in which view and block."""

    start: str
    task: str
    distance: float
    view: str
    block: str  # 'latent', 'colour', 'edge' or 'background'


@dataclass(frozen=True, kw_only=True)
class StartFit:
    """Fits of start frames: task -> (view, block) -> fit. The task `EVERY_TASK` serves them all."""

    tasks: Mapping[str, Mapping[tuple[str, str], BlockFit]]
    fitted: int  # starts

    def distances(self, world: World, starts: Sequence[Start]) -> list[StartDistance]:
        """Measure starts of fitted tasks; starts of other tasks are left out.

        Raises:
            UserError: a start lacks a view of the world model, or has another size.
        """
        out: dict[str, StartDistance] = {}
        for task in dict.fromkeys(start.task for start in starts):
            blocks = self.tasks.get(task, self.tasks.get(EVERY_TASK))
            if blocks is None:
                continue
            own = [start for start in starts if start.task == task]
            found = described(world, own)
            scores = {key: fit.score(found[key]) for key, fit in blocks.items()}
            for row, start in enumerate(own):
                view, block = max(scores, key=lambda key: scores[key][row])
                out[start.id] = StartDistance(
                    start=start.id,
                    task=task,
                    distance=float(scores[view, block][row]),
                    view=view,
                    block=block,
                )
        return [out[start.id] for start in starts if start.id in out]

    def save(self, path: Path) -> None:
        """Write the fits to a safetensors file with a checksum."""
        tensors: dict[str, torch.Tensor] = {"fitted": torch.tensor([self.fitted])}
        for task, blocks in self.tasks.items():
            for (view, block), fit in blocks.items():
                at = f"{task}|{view}|{block}|"
                tensors[at + "mean"] = torch.from_numpy(fit.mean.astype(np.float32))
                tensors[at + "basis"] = torch.from_numpy(fit.basis.astype(np.float16))
                numbers = [fit.rest, fit.centre, fit.spread, *fit.variance]
                tensors[at + "numbers"] = torch.tensor(numbers, dtype=torch.float32)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_checked(path, tensors)


def read_start_fit(path: Path) -> StartFit:
    """Read fits written by `StartFit.save`.

    Raises:
        UserError: the file is missing, damaged, or holds no fits.
    """
    tensors = {name: tensor.numpy() for name, tensor in load_checked(path).items()}
    tasks: dict[str, dict[tuple[str, str], BlockFit]] = {}
    try:
        fitted = int(tensors.pop("fitted")[0])
        for name in tensors:
            task, view, block, what = name.rsplit("|", 3)
            if what != "mean":
                continue
            at = name.removesuffix("mean")
            rest, centre, spread, *variance = tensors[at + "numbers"].astype(np.float64)
            tasks.setdefault(task, {})[view, block] = BlockFit(
                mean=tensors[name].astype(np.float64),
                basis=tensors[at + "basis"].astype(np.float64),
                variance=np.array(variance),
                rest=float(rest),
                centre=float(centre),
                spread=float(spread),
            )
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(f"{path} holds no fit of start frames: {error}.") from error
    return StartFit(tasks=tasks, fitted=fitted)


def fit_starts(world: World, starts: Sequence[Start], *, rng: np.random.Generator) -> StartFit:
    """Fit the distribution of start frames, task by task.

    With fewer than 10 starts of some task, all tasks share one fit.

    Raises:
        UserError: there are fewer than 10 starts.
    """
    if len(starts) < LEAST:
        raise UserError(
            f"{len(starts)} start frames are too few to fit their distribution; at least {LEAST} "
            "are needed."
        )
    by_task = {
        task: [start for start in starts if start.task == task]
        for task in sorted({start.task for start in starts})
    }
    if min(map(len, by_task.values())) < LEAST:
        by_task = {EVERY_TASK: list(starts)}
    tasks = {}
    for task, own in by_task.items():
        parts = rng.permutation(len(own)) % FOLDS
        found = described(world, own)
        tasks[task] = {
            (view, block): _fitted_block(values, parts, _typical if block == WHOLE else _pca)
            for (view, block), values in found.items()
        }
    return StartFit(tasks=tasks, fitted=len(starts))


def described(world: World, starts: Sequence[Start]) -> dict[tuple[str, str], Float[Array, "n d"]]:
    """Describe start frames by numbers: (view, block) -> a row for each start."""
    out: dict[tuple[str, str], list[Array]] = {}
    views = world.spec.views
    for begin in range(0, len(starts), BATCH):
        batch = starts[begin : begin + BATCH]
        _refuse_views(batch, views)
        frames = {view: np.stack([start.frames[view] for start in batch]) for view in views}
        latents = world.encode(frames, [start.task for start in batch]).cpu().numpy()
        for index, view in enumerate(views):
            blocks = {"latent": latents[:, index].reshape(len(batch), -1), **_simple(frames[view])}
            for block, values in blocks.items():
                out.setdefault((view, block), []).append(values.astype(np.float64))
    return {key: np.concatenate(values) for key, values in out.items()}


def _simple(frames: Array) -> dict[str, Array]:
    """Mean colours and edge strength of the cells of a grid."""
    unit = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    around = functional.avg_pool2d(functional.pad(unit, (1, 1, 1, 1), mode="replicate"), 3, 1)
    laplacian = (unit - around).abs().mean(1, keepdim=True)
    strength = functional.adaptive_avg_pool2d(laplacian, EDGES).add(1e-3).log()
    colours = functional.adaptive_avg_pool2d(unit, GRID)
    flat = colours.flatten(1).numpy()
    return {"colour": flat, WHOLE: flat, "edge": strength.flatten(1).numpy()}


def _fitted_block(
    values: Float[Array, "n d"], parts: Array, fit: Callable[[Array], BlockFit]
) -> BlockFit:
    """Fit a block to all starts; its log distance is that of starts left out part by part."""
    left = np.empty(len(values))
    for part in range(FOLDS):
        out = parts == part
        left[out] = fit(values[~out]).log_distance(values[out])
    spread = float(max(left.std(ddof=1), 1e-3))
    return replace(fit(values), centre=float(left.mean()), spread=spread)


def _typical(values: Float[Array, "n d"]) -> BlockFit:
    """Fit mean and variance of every number."""
    mean = values.mean(0).astype(np.float32).astype(np.float64)
    return BlockFit(
        mean=mean,
        basis=np.zeros((0, values.shape[1])),
        variance=np.maximum(values.var(0), CELL_FLOOR),
        rest=1.0,
        centre=0.0,
        spread=1.0,
    )


def _pca(values: Float[Array, "n d"]) -> BlockFit:
    count, size = values.shape
    mean = values.mean(0).astype(np.float32).astype(np.float64)  # as it is stored
    _, sizes, basis = np.linalg.svd(values - mean, full_matrices=False)
    variance = sizes**2 / max(count - 1, 1)
    total = variance.sum()
    needed = int(np.searchsorted(np.cumsum(variance), VARIANCE * total)) + 1
    k = max(1, min(needed, COMPONENTS, count // 4, size // 2))
    rest = max(float(variance[k:].sum()) / max(size - k, 1), FLOOR)
    return BlockFit(
        mean=mean,
        basis=basis[:k].astype(np.float16).astype(np.float64),
        variance=np.maximum(variance[:k], rest),
        rest=rest,
        centre=0.0,
        spread=1.0,
    )


def _refuse_views(starts: Sequence[Start], views: Sequence[str]) -> None:
    for start in starts:
        if missing := [view for view in views if view not in start.frames]:
            raise UserError(
                f"The start '{start.id}' has no view '{missing[0]}' (it has: "
                f"{', '.join(start.frames)})."
            )
