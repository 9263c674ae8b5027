"""Measure whether a world model follows its actions.

A probe learns from recorded frames how far the gripper moved between two frames, and is then
applied to imagined ones: the inverse-dynamics error. In addition, other actions must lead to other
outcomes: recorded actions are executed unchanged, at rest, shuffled between episodes, and mirrored.
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
from worldeval.world.world import World

WIDTH = 48
PROBE = TrainerRecipe(steps=400, batch=64, learning_rate=2e-3, weight_decay=0.05, ema=0.99)
NOISE = 0.2  # on the probe's latents, since imagined ones are never exact


class Probe(nn.Module):
    """Predict the gripper's standardised displacement from two latent frames of every view."""

    def __init__(self, views: int, latent: tuple[int, int, int]) -> None:
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
            nn.Linear(128, 3),
        )

    def forward(self, pair: Float[Tensor, "n 2 v d h w"]) -> Float[Tensor, "n 3"]:
        """Displacements in units of their training standard deviation."""
        return self.sight(pair.flatten(1, 3))


@dataclass(frozen=True, kw_only=True)
class FittedProbe:
    """A probe and the scale of its output."""

    probe: Probe
    std: Float32[Array, " 3"]  # metres
    mean: Float32[Array, " 3"]  # of the training displacements: the answer without any input

    @torch.inference_mode()
    def __call__(self, latents: Float32[Array, "e t v d h w"]) -> Float32[Array, "e s 3"]:
        """Displacements (m) between consecutive frames, s = t - 1."""
        rows = [_pairs(torch.from_numpy(episode)) for episode in latents]
        return np.stack([self.probe(pair).numpy() * self.std for pair in rows])


@dataclass(frozen=True, kw_only=True)
class Followed:
    """The probe's mean distance from the recorded displacement, in millimetres per frame."""

    imagined: Mean  # on imagined frames
    recorded: Mean  # on recorded frames of the same episodes: the probe's own error
    still: Mean  # of the mean displacement: without any input


@dataclass(frozen=True, kw_only=True)
class Changed:
    """The effect of other actions at one horizon."""

    error: Mean | None  # latent MSE to the recording
    change: Mean | None  # latent RMS from the true actions' outcome, where the recording changed
    hand_mm: Mean | None  # the gripper's distance from where the true actions move it


def fit_probe(seen: Held, *, seed: int, trainer: TrainerRecipe = PROBE) -> FittedProbe:
    """Train the probe on recorded episodes other than those used for measuring."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    moved = np.diff(seen.pose[..., :3], axis=1)
    rows = np.argwhere(np.arange(moved.shape[1]) < seen.length[:, None] - 1)
    every = moved[rows[:, 0], rows[:, 1]]
    std = np.sqrt(np.square(every).mean(0)).clip(1e-5).astype(np.float32)
    latents, displacement = torch.from_numpy(seen.latents), torch.from_numpy(moved / std)
    index = torch.from_numpy(rows)
    views, depth, height, breadth = latents.shape[2:]
    probe = Probe(views, (depth, height, breadth))
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
    return FittedProbe(probe=fitted, mean=every.mean(0), std=std)


def followed(probe: FittedProbe, held: Held, imagined: OpenLoop) -> Followed:
    """Compute the inverse-dynamics error over the imagined frames, by episode."""
    steps = imagined.latents.shape[1] - 1
    moved = np.diff(held.pose[:, : steps + 1, :3], axis=1)
    live = np.arange(steps) < held.length[:, None] - 1

    def error(read: Float32[Array, "e s 3"] | Float32[Array, " 3"]) -> Mean:
        away = np.linalg.norm(read - moved, axis=2) * 1000
        found = mean_of(np.array([row[own].mean() for row, own in zip(away, live, strict=True)]))
        assert found is not None
        return found

    return Followed(
        imagined=error(probe(imagined.latents)),
        recorded=error(probe(held.latents[:, : steps + 1])),
        still=error(probe.mean),
    )


def other_actions(
    held: Held, *, absolute: bool, step_dim: int, rng: np.random.Generator
) -> dict[str, Float32[Array, "e t a"]]:
    """Return the recorded actions and their modifications.

    Absolute actions rest at the first one and are mirrored about it; deltas rest at zero. Only the
    position (the first three of every `step_dim` numbers) is mirrored. Shuffled actions come from
    another episode, of the same task if there is one.
    """
    true = held.actions
    rest = np.repeat(true[:, :1], true.shape[1], 1) if absolute else np.zeros_like(true)
    position = np.arange(true.shape[2]) % (true.shape[2] if absolute else step_dim) < 3
    mirrored = np.where(position, 2 * rest - true, true)
    other = np.arange(len(held))
    tasks = np.array(held.tasks)
    for task in sorted(set(held.tasks)):
        here = rng.permutation(np.flatnonzero(tasks == task))
        other[here] = np.roll(here, 1)
    if (other == np.arange(len(held))).all():  # one episode per task: shuffle across tasks
        other = np.roll(other, 1)
    return {"true": true, "zeroed": rest, "shuffled": true[other], "mirrored": mirrored}


def changed(
    world: World,
    held: Held,
    given: dict[str, Float32[Array, "e t a"]],
    *,
    horizons: Sequence[int],
) -> dict[str, dict[str, Changed]]:
    """Return kind of actions -> 'h<horizon>' -> their effect."""
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
            hand = imagined.pose[rows, horizon, :3] - true.pose[rows, horizon, :3]
            out[name][f"h{horizon}"] = Changed(
                error=mean_of(_square(own - recorded)),
                change=mean_of(np.sqrt(_square(own - straight)) / moved),
                hand_mm=mean_of(np.linalg.norm(hand, axis=1) * 1000),
            )
    return out


def _square(difference: Float32[Array, "e v d h w"]) -> Float[Array, " e"]:
    return np.square(difference, dtype=np.float64).mean((1, 2, 3, 4))


def _pairs(episode: Float[Tensor, "t v d h w"]) -> Float[Tensor, "s 2 v d h w"]:
    return torch.stack([episode[:-1], episode[1:]], 1)
