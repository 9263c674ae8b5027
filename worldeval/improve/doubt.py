"""Check whether imagined success survives when the same actions are replayed elsewhere.

A policy that improves inside a world model may exploit the model's errors. Its actions are replayed
in a second world model, or in the same one from starts with image noise. Success that depends on an
error of the first world model is then lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.improve.place import Attempt, Simulation, given, probabilities
from worldeval.improve.recipe import DISTURBANCE
from worldeval.record import Start
from worldeval.rollout.loop import replay_actions
from worldeval.world.protocol import WorldModel

TOKENIZER = "tokenizer.safetensors"


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """Where actions are replayed."""

    place: Simulation
    second: WorldModel | None = None  # None: the place's own world
    disturbance: float = DISTURBANCE  # std of image noise in pixel values, without a second world
    seed: int = 0

    def again(self, attempts: Sequence[Attempt]) -> Float[Array, " n"]:
        """Return the success probability of every attempt's replayed actions."""
        world = self.second or self.place.world
        rng = np.random.default_rng([self.seed, 23])
        out: list[float] = []
        for begin in range(0, len(attempts), self.place.batch):
            part = attempts[begin : begin + self.place.batch]
            starts = [attempt.start for attempt in part]
            if self.second is None:
                starts = [disturbed(start, self.disturbance, rng) for start in starts]
            actions = np.stack([attempt.rollout.actions for attempt in part])
            seeds = [attempt.rollout.seed for attempt in part]
            rollouts = replay_actions(world, starts, actions, seeds=seeds)
            out += [verdict.probability for verdict in given(self.place.judge(rollouts))]
        return np.array(out)

    def gap(self, attempts: Sequence[Attempt]) -> float:
        """Mean imagined success minus the mean success of the replayed actions."""
        return float((probabilities(attempts) - self.again(attempts)).mean())


def disturbed(start: Start, std: float, rng: np.random.Generator) -> Start:
    """Add Gaussian noise to a start's images."""
    frames = {}
    for view, frame in start.frames.items():
        noisy = frame + std * rng.standard_normal(frame.shape)
        frames[view] = np.clip(noisy.round(), 0, 255).astype(np.uint8)
    return replace(start, frames=frames)


def check_second(world: Path, second: Path) -> None:
    """Refuse a second world whose latents the judge cannot read.

    Raises:
        UserError: the two worlds do not share a tokenizer.
    """
    pair = [folder / TOKENIZER for folder in (world, second)]
    missing = [str(path) for path in pair if not path.is_file()]
    if missing or pair[0].read_bytes() != pair[1].read_bytes():
        why = f"{missing[0]} does not exist" if missing else "their tokenizers differ"
        raise UserError(
            f"{second} cannot check what {world} imagines: {why}, and the judge reads the latents "
            "of one tokenizer. Use another fold of the same training run, or second: ''."
        )
