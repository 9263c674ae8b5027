"""Memory with a known answer: an arm paints a place, goes away, and comes back to look at it.

The start is blank and so is everything else, so that on return nothing in the context and nothing
in the start says what was painted: only a frame looked up by pose does.
"""

import numpy as np
import torch
from torch import nn

from worldeval.axes import Float32
from worldeval.data.latents import LatentEpisodes
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.dit.family import new
from worldeval.world.dit.fit import fit_dit
from worldeval.world.dit.recipe import DitRecipe
from worldeval.world.dit.world import DitWorld
from worldeval.world.features import Features, Motion
from worldeval.world.fidelity.held_out import Held, imagine_held
from worldeval.world.fidelity.memory import memory_of, returns
from worldeval.world.hand.commands import actuation_of
from worldeval.world.hand.fit import fit_features
from worldeval.world.hand.kinematics import Kinematics
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import ActuationRecipe
from worldeval.world.training.windows import Windows
from worldeval.world.turned import Turned

FRAMES, VISIT, RETURN = 10, 1, 8
SPEC = WorldSpec(
    views=("wrist",),
    size=(16, 16),
    latent=(2, 2, 2),
    action_dim=4,
    pose_dim=4,
    tasks=("paint",),
    fps=5.0,
)
RECIPE = DitRecipe(
    width=32,
    depth=2,
    heads=2,
    patch=1,
    window=2,
    memory=1,
    steps=1,
    length=FRAMES,
    imagined=((0.0, 0),),
    actuation=ActuationRecipe(scale=1.0, step_dim=4),
)


class Obedient(Kinematics):
    """Kinematics of a hand that is at once where it is told to be."""

    def __init__(self, features: Features) -> None:
        nn.Module.__init__(self)  # no network of its own
        self.features = features
        self.turned_pose = self.turned_action = Turned(width=4)  # there are no angles

    def forward(self, latent: torch.Tensor, first: torch.Tensor, motion: Motion) -> torch.Tensor:
        return torch.cat([motion.next_command, motion.pose[:, 3:]], 1)


def test_retrieval_beats_none_on_the_frames_of_return() -> None:
    world = a_painted_world()
    held = paintings(40, seed=1)
    found = memory_of(world, held, steps=FRAMES - 1)
    assert found.frames >= 40 and found.unit == "latent dB"
    assert found.gain.low is not None
    print(f"on return, {found.gain.value:.1f} dB [{found.gain.low:.1f}, {found.gain.high:.1f}]")
    assert found.gain.low > 3  # half the squared error, with all of the interval
    assert world.retrieve

    # What was painted is seen when it is painted, with retrieval and without.
    for retrieve in (True, False):
        world.retrieve = retrieve
        made = imagine_held(world, held, steps=VISIT)
        error = np.square(made.latents[:, VISIT] - held.latents[:, VISIT]).mean()
        assert error < 0.1 * np.square(held.latents[:, VISIT]).mean()


def test_episodes_of_the_painter_come_back_as_they_should() -> None:
    held = paintings(3, seed=0)
    back = returns(held.pose[..., :3], length=held.length)
    assert back[:, RETURN].all() and not back[:, :RETURN].any()


def a_painted_world() -> DitWorld:
    held = paintings(300, seed=0)
    data = LatentEpisodes(
        latents=held.latents.reshape(-1, *held.latents.shape[2:]).astype(np.float16),
        actions=held.actions.reshape(-1, 4),
        pose=held.pose.reshape(-1, 4),
        task=np.zeros(len(held), np.int64),
        begin=np.arange(len(held)) * FRAMES,
        length=held.length,
    )
    torch.manual_seed(0)
    world, every = new(SPEC, RECIPE), np.arange(len(held))
    features = world.dynamics.features
    windows = Windows(data, actuation_of(RECIPE.actuation, SPEC), torch.ones(4))
    fit_features(features, windows, every)
    windows.pose_std = features.pose_std
    world.dynamics = fit_dit(
        world.dynamics,
        windows,
        every,
        TrainerRecipe(steps=150, batch=24, learning_rate=4e-3, ema=0.95),
        latent_noise=0.05,
        pose_noise=0.0,
        seed=0,
    ).model
    world.kinematics = Obedient(world.dynamics.features)
    return world


def paintings(count: int, *, seed: int) -> Held:
    """The hand goes to a place, paints (the 4th number of the action), wanders off, comes back."""
    rng = np.random.default_rng(seed)
    paint = rng.uniform(-1, 1, count).astype(np.float32)
    place = np.zeros((count, FRAMES, 3), np.float32)
    place[:, VISIT, 0] = 0.7
    away = slice(VISIT + 1, RETURN)
    place[:, away] = rng.uniform(-0.2, 0.2, (count, RETURN - VISIT - 1, 3))
    place[:, away, 1] += 0.7
    place[:, RETURN:, 0] = 0.7
    actions = np.zeros((count, FRAMES, 4), np.float32)
    actions[:, :-1, :3] = np.diff(place, axis=1)
    actions[:, VISIT - 1, 3] = paint
    latents = np.zeros((count, FRAMES, 1, 2, 2, 2), np.float32)
    for frame in (VISIT, *range(RETURN, FRAMES)):
        latents[:, frame] = _brush(paint)
    pose = np.concatenate([place, np.zeros((count, FRAMES, 1), np.float32)], 2)
    return Held(
        latents=latents,
        frames=None,
        actions=actions,
        pose=pose,
        tasks=("paint",) * count,
        length=np.full(count, FRAMES),
    )


def _brush(paint: np.ndarray) -> Float32[np.ndarray, "e v d h w"]:
    """Two channels over four cells, of one sign and of the other."""
    sign = np.array([1.0, -1.0], np.float32)[:, None, None]
    return 2 * paint[:, None, None, None, None] * sign * np.ones((1, 1, 2, 2, 2), np.float32)
