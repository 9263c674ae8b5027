"""Whether a recipe fits a GPU, and which batch to take, from costs computed on `meta`.

Costs are computed at a few batches. Between them they are interpolated, and beyond the largest
extrapolated: kernels' work grows in proportion to the batch.
"""

from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worldeval.world.cost.imagine import Imagination, Imagining
from worldeval.world.cost.machine import Machine
from worldeval.world.cost.train import TrainingStep, training_step
from worldeval.world.cost.work import LAUNCH
from worldeval.world.recipe import WorldRecipe

COMPUTED = (1, 16)  # batches of imagination whose cost is computed
LARGE = 8  # batch of training whose cost is computed
BATCHES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)  # that are considered
ENOUGH = 0.95  # of the best rate: a larger batch is not worth its memory
HORIZON = 200  # frames of an episode, whose latents the state holds


@dataclass(frozen=True, kw_only=True)
class ImaginationRow:
    """Bounds of imagination at one batch. A frame is all views of one episode."""

    batch: int
    memory: float  # bytes: weights, state and the most that one call needs
    fits: bool
    eager: float  # frames a second, at most, if every operation is a kernel of its own
    compiled: float  # with everything fused into matrix products and attention
    arithmetic: float  # of the products alone, at the GPU's peak


@dataclass(frozen=True, kw_only=True)
class TrainingRow:
    """Bounds of a training step at one batch on one GPU."""

    batch: int
    memory: float  # bytes: weights, optimiser, average, gradients and activations
    fits: bool
    eager: float  # steps a second, at most
    compiled: float


@dataclass(frozen=True, kw_only=True)
class ImaginationCost:
    """The cost of one call of a world at several batches."""

    calls: Sequence[Imagination]

    def row(self, batch: int, machine: Machine) -> ImaginationRow:
        """Bounds at a batch, also between or beyond those computed."""
        call, at = self.calls[-1], self._at
        frames = batch * call.frames
        history = 2 * HORIZON * at(batch, lambda each: each.growth)  # a full buffer is doubled
        memory = call.weights + at(batch, lambda each: each.peak) + history
        launched = LAUNCH * at(batch, lambda each: each.work.launches)
        device = at(batch, lambda each: each.work.kernel_seconds(machine))
        return ImaginationRow(
            batch=batch,
            memory=memory,
            fits=memory <= machine.usable,
            eager=frames / max(device, launched),
            compiled=frames / at(batch, lambda each: each.work.compiled_seconds(machine)),
            arithmetic=frames / at(batch, lambda each: each.work.arithmetic_seconds(machine)),
        )

    def best(self, machine: Machine) -> ImaginationRow | None:
        """The smallest batch that is nearly as fast as any that fits; None if none fits."""
        rows = [row for row in (self.row(each, machine) for each in BATCHES) if row.fits]
        fastest = max((row.eager for row in rows), default=0.0)
        return next((row for row in rows if row.eager >= ENOUGH * fastest), None)

    def _at(self, batch: int, of: Callable[[Imagination], float]) -> float:
        return _between([each.batch for each in self.calls], list(map(of, self.calls)), batch)


@dataclass(frozen=True, kw_only=True)
class TrainingCost:
    """The cost of a training step at two batches, and the batch that the recipe asks for."""

    asked: int  # rows of a step, over all GPUs and accumulated gradients
    steps: Sequence[TrainingStep]

    def row(self, batch: int, machine: Machine) -> TrainingRow:
        """Bounds at a batch, also between or beyond those computed."""
        at = self._at
        memory = at(batch, lambda each: each.memory)
        launched = LAUNCH * at(batch, lambda each: each.work.launches)
        device = at(batch, lambda each: each.work.kernel_seconds(machine))
        return TrainingRow(
            batch=batch,
            memory=memory,
            fits=memory <= machine.usable,
            eager=1 / max(device, launched),
            compiled=1 / at(batch, lambda each: each.work.compiled_seconds(machine)),
        )

    def most(self, machine: Machine) -> int:
        """The largest divisor of the recipe's batch that fits one GPU; 0: none."""
        fitting = [
            batch
            for batch in range(1, self.asked + 1)
            if self.asked % batch == 0 and self.row(batch, machine).fits
        ]
        return max(fitting, default=0)

    def _at(self, batch: int, of: Callable[[TrainingStep], float]) -> float:
        return _between([each.batch for each in self.steps], list(map(of, self.steps)), batch)


def imagination_cost(
    kind: str,
    recipe: WorldRecipe,
    *,
    steps: int | None = None,
    batches: Sequence[int] = COMPUTED,
) -> ImaginationCost:
    """Compute the cost of a call of a new world of a recipe.

    Args:
        steps: of the sampler; default: the recipe's.
        batches: at which it is computed.

    Raises:
        UserError: a package that the family needs is not installed.
    """
    return cost_of(Imagining(kind, recipe), steps=steps, batches=batches)


def cost_of(
    world: Imagining, *, steps: int | None = None, batches: Sequence[int] = COMPUTED
) -> ImaginationCost:
    """`imagination_cost` of a world that is there, which remembers what it computed."""
    return ImaginationCost(calls=[world.cost(each, steps) for each in batches])


def training_cost(kind: str, recipe: WorldRecipe) -> TrainingCost:
    """Compute the cost of a training step of a recipe at a batch of 8 or the recipe's, and at 1.

    Raises:
        UserError: a package that the family needs is not installed.
    """
    asked = recipe.trainer.batch
    large = training_step(kind, recipe, min(LARGE, asked))
    if asked == 1:
        return TrainingCost(asked=asked, steps=[large])
    small = training_step(kind, recipe, 1)
    return TrainingCost(asked=asked, steps=[small, large])


def _between(batches: Sequence[int], values: Sequence[float], batch: int) -> float:
    """Interpolate linearly between batches; outside, go on as between the nearest two."""
    if len(batches) == 1:
        return values[0] * batch / batches[0]
    after = min(max(bisect(batches, batch), 1), len(batches) - 1)
    low, high = after - 1, after
    slope = (values[high] - values[low]) / (batches[high] - batches[low])
    return values[low] + slope * (batch - batches[low])
