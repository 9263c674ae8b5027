"""Does imagined success survive when the same actions are carried out again, elsewhere?

A policy that improves inside a world model may learn the model's errors. Its actions are replayed
in a second world model, or in the same one from starts seen through noise; success that depends on
an error of the first does not come back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.improve.place import Attempt, Simulation, probabilities
from worldeval.record import Start
from worldeval.rollout.loop import replay_actions
from worldeval.world.protocol import WorldModel

TOKENIZER = "tokenizer.safetensors"


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """Where actions are carried out again."""

    place: Simulation
    second: WorldModel | None = None  # None: the place's own world
    disturbance: float = 6.0  # standard deviation, pixel values, where there is no second world
    seed: int = 0

    def again(self, attempts: Sequence[Attempt]) -> Float[Array, " n"]:
        """The probability of success of every attempt's actions, carried out again."""
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
            out += [verdict.probability for verdict in self.place.judge(rollouts)]
        return np.array(out)

    def gap(self, attempts: Sequence[Attempt]) -> float:
        """Imagined success less that of the same actions carried out again, on average."""
        return float((probabilities(attempts) - self.again(attempts)).mean())


def disturbed(start: Start, std: float, rng: np.random.Generator) -> Start:
    """The start with Gaussian noise on its pictures."""
    frames = {}
    for view, frame in start.frames.items():
        noisy = frame + std * rng.standard_normal(frame.shape)
        frames[view] = np.clip(noisy.round(), 0, 255).astype(np.uint8)
    return replace(start, frames=frames)


def check_second(world: Path, second: Path) -> None:
    """Refuse a second world whose latents the judge cannot read.

    Raises:
        UserError: the two do not share their tokenizer.
    """
    pair = [folder / TOKENIZER for folder in (world, second)]
    missing = [str(path) for path in pair if not path.is_file()]
    if missing or pair[0].read_bytes() != pair[1].read_bytes():
        why = f"{missing[0]} does not exist" if missing else "their tokenizers differ"
        raise UserError(
            f"{second} cannot doubt what {world} imagines: {why}, and the judge reads the latents "
            "of one tokenizer. Give another fold of the same training, or second: ''."
        )
