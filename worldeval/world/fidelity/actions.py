"""Measure whether a world model follows its actions.

A probe learns from recorded frames how far the robot moved between two frames, and is then applied
to imagined ones: the inverse-dynamics error. Where the robot is follows from the meaning of its
pose (`WorldSpec.place`): one hand, several, joints, or a point in the plane. In addition, other
actions must lead to other outcomes: recorded actions are executed unchanged, at rest, shuffled
between episodes, and mirrored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from worldeval.axes import Array, Float, Float32
from worldeval.training.optimise import optimise
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.fidelity.held_out import Held, OpenLoop, imagine_held
from worldeval.world.fidelity.mean import Mean, mean_of
from worldeval.world.fidelity.space import Meaning
from worldeval.world.world import World

WIDTH = 48
PROBE = TrainerRecipe(steps=400, batch=64, learning_rate=2e-3, weight_decay=0.05, ema=0.99)
NOISE = 0.2  # on the probe's latents, since imagined ones are never exact


class Probe(nn.Module):
    """Predict the robot's standardised displacement from two latent frames of every view."""

    def __init__(self, views: int, latent: tuple[int, int, int], axes: int) -> None:
        super().__init__()
        depth, height, breadth = latent
        stride = 2 if height * breadth > 256 else 1
        self.sight = nn.Sequential(
            nn.Conv2d(2 * views * depth, WIDTH, 3, stride, padding=1),
            nn.SiLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.LazyLinear(128),
            nn.SiLU(),
            nn.Linear(128, axes),
        )

    def forward(self, pair: Float[Tensor, "n 2 v d h w"]) -> Float[Tensor, "n k"]:
        """Displacements in units of their training standard deviation."""
        return self.sight(pair.flatten(1, 3))


@dataclass(frozen=True, kw_only=True)
class FittedProbe:
    """A probe and the scale of its output."""

    probe: Probe
    place: tuple[int, ...]  # pose columns whose displacement it gives
    std: Float32[Array, " k"]  # in the position's unit
    mean: Float32[Array, " k"]  # of the training displacements: the answer without any input

    @torch.inference_mode()
    def __call__(self, latents: Float32[Array, "e t v d h w"]) -> Float32[Array, "e s k"]:
        """Displacements between consecutive frames, s = t - 1."""
        rows = [_pairs(torch.from_numpy(episode)) for episode in latents]
        return np.stack([self.probe(pair).numpy() * self.std for pair in rows])


@dataclass(frozen=True, kw_only=True)
class Followed:
    """The probe's mean distance from the recorded displacement per frame, in the unit of
    `WorldSpec.place_unit`: millimetres, if the position is in metres."""

    imagined: Mean  # on imagined frames
    recorded: Mean  # on recorded frames of the same episodes: the probe's own error
    still: Mean  # of the mean displacement: without any input


def fit_probe(
    seen: Held, *, place: Sequence[int], seed: int, trainer: TrainerRecipe = PROBE
) -> FittedProbe:
    """Train the probe on recorded episodes other than those used for measuring.

    `place` lists the pose columns that give the robot's position.
    """
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    moved = np.diff(seen.pose[..., list(place)], axis=1)
    rows = np.argwhere(np.arange(moved.shape[1]) < seen.length[:, None] - 1)
    every = moved[rows[:, 0], rows[:, 1]]
    std = np.sqrt(np.square(every).mean(0)).clip(1e-5).astype(np.float32)
    latents, displacement = torch.from_numpy(seen.latents), torch.from_numpy(moved / std)
    index = torch.from_numpy(rows)
    views, depth, height, breadth = latents.shape[2:]
    probe = Probe(views, (depth, height, breadth), len(place))
    probe(torch.zeros(1, 2, *latents.shape[2:]))  # sets the lazy layer's size

    def loss_of(net: nn.Module, step: int) -> Tensor:
        e, t = index[torch.randint(len(index), (trainer.batch,), generator=generator)].unbind(1)
        pair = torch.stack([latents[e, t], latents[e, t + 1]], 1)
        wanted = displacement[e, t]
        # Reversed clips show the opposite motion, which doubles the data.
        turned = torch.rand(len(e), generator=generator) < 0.5
        pair = torch.where(turned.view(-1, 1, 1, 1, 1, 1), pair.flip(1), pair)
        wanted = torch.where(turned[:, None], -wanted, wanted)
        pair = pair + NOISE * torch.randn(pair.shape, generator=generator)
        device = next(net.parameters()).device
        return (net(pair.to(device)) - wanted.to(device)).square().mean()

    fitted = optimise(probe, loss_of, trainer).model
    return FittedProbe(probe=fitted, place=tuple(place), mean=every.mean(0), std=std)


def followed(probe: FittedProbe, held: Held, imagined: OpenLoop, *, metres: bool) -> Followed:
    """Compute the inverse-dynamics error over the imagined frames, by episode.

    `metres` says whether the position is in metres; errors are then in millimetres.
    """
    steps = imagined.latents.shape[1] - 1
    moved = np.diff(held.pose[:, : steps + 1, list(probe.place)], axis=1)
    live = np.arange(steps) < held.length[:, None] - 1

    def error(read: Float32[Array, "e s k"] | Float32[Array, " k"]) -> Mean:
        away = np.linalg.norm(read - moved, axis=2) * (1000 if metres else 1)
        found = mean_of(np.array([row[own].mean() for row, own in zip(away, live, strict=True)]))
        assert found is not None
        return found

    return Followed(
        imagined=error(probe(imagined.latents)),
        recorded=error(probe(held.latents[:, : steps + 1])),
        still=error(probe.mean),
    )


def other_actions(
    held: Held, meaning: Meaning, *, rng: np.random.Generator
) -> dict[str, Float32[Array, "e t a"]]:
    """Return the recorded actions and their modifications.

    At rest, targets keep their first value and other numbers are zero ('zeroed'). 'mirrored'
    reflects the numbers that move the robot's position about rest. Either is left out if `meaning`
    does not say how. Shuffled actions come from another episode, of the same task if there is one.
    """
    true = held.actions
    other = np.arange(len(held))
    tasks = np.array(held.tasks)
    for task in sorted(set(held.tasks)):
        here = rng.permutation(np.flatnonzero(tasks == task))
        other[here] = np.roll(here, 1)
    if (other == np.arange(len(held))).all():  # one episode per task: shuffle across tasks
        other = np.roll(other, 1)
    out = {"true": true, "shuffled": true[other]}
    if meaning.held is not None:
        column = np.arange(true.shape[2])
        first = np.repeat(true[:, :1], true.shape[1], 1)
        rest = np.where(np.isin(column, meaning.held), first, np.float32(0))
        out = {"true": true, "zeroed": rest, "shuffled": true[other]}
        if meaning.mirrored:
            out["mirrored"] = np.where(np.isin(column, meaning.mirrored), 2 * rest - true, true)
    return out


def changed(
    world: World,
    held: Held,
    given: dict[str, Float32[Array, "e t a"]],
    *,
    horizons: Sequence[int],
) -> dict[str, dict[str, dict[str, Mean | None]]]:
    """Return kind of actions -> 'h<horizon>' -> their effect.

    `error` is the latent MSE to the recording; `change` is the latent RMS from the true actions'
    outcome, as a share of the recording's own change; `hand_mm` (or `place_error`, see
    `WorldSpec.place_error`) is the distance from where the true actions move the robot.
    """
    steps = max(horizons)
    made = {
        name: imagine_held(world, held, steps=steps, actions=each) for name, each in given.items()
    }
    true, out = made["true"], {}
    for name, imagined in made.items():
        out[name] = {}
        for horizon in horizons:
            rows = held.there(horizon)
            if not rows.any():
                continue
            recorded, start = held.latents[rows, horizon], held.latents[rows, 0]
            moved = np.sqrt(_square(recorded - start)).clip(1e-6)
            own, straight = imagined.latents[rows, horizon], true.latents[rows, horizon]
            place, away = world.spec.place_error(
                imagined.pose[rows, horizon] - true.pose[rows, horizon]
            )
            out[name][f"h{horizon}"] = {
                "error": mean_of(_square(own - recorded)),
                "change": mean_of(np.sqrt(_square(own - straight)) / moved),
                place: mean_of(away),
            }
    return out


def _square(difference: Float32[Array, "e v d h w"]) -> Float[Array, " e"]:
    return np.square(difference, dtype=np.float64).mean((1, 2, 3, 4))


def _pairs(episode: Float[Tensor, "t v d h w"]) -> Float[Tensor, "s 2 v d h w"]:
    return torch.stack([episode[:-1], episode[1:]], 1)
