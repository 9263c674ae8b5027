"""Two-timestep transformers of a few thousand numbers, for the robot of tests/support/dots.py."""

import torch

from tests.support.dots import ACTUATION, LATENT, SPEC
from worldeval.axes import Array
from worldeval.data.latents import LatentEpisodes
from worldeval.world.features import Features
from worldeval.world.hand.kinematics import Kinematics
from worldeval.world.recipe import KinematicsRecipe
from worldeval.world.uwm.network import Uwm
from worldeval.world.uwm.recipe import UwmRecipe
from worldeval.world.uwm.seen import UwmContext
from worldeval.world.uwm.world import UwmState, UwmWorld

TINY = UwmRecipe(width=32, depth=2, heads=2, registers=2, channels=8, chunk=3, times=20)


def new_model(recipe: UwmRecipe = TINY, *, spoken: bool = True) -> Uwm:
    """A network with fresh weights; `spoken` gives the ones that begin at zero something to say."""
    torch.manual_seed(0)
    model = Uwm(recipe, Features(pose_dim=4, action_dim=4, tasks=2), latent=LATENT)
    for parameter in model.parameters():
        if spoken and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def new_world(recipe: UwmRecipe = TINY) -> UwmWorld:
    torch.manual_seed(1)
    hands = KinematicsRecipe(width=16, depth=1, sight=4)
    features = Features(pose_dim=4, action_dim=4, tasks=2)
    return UwmWorld(
        SPEC,
        tokenizer=None,
        kinematics=Kinematics(hands, features, latent_size=32).eval(),
        model=new_model(recipe),
        actuation=ACTUATION,
    )


def some_seen(count: int = 2) -> UwmContext:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(count, *shape, generator=generator)

    return UwmContext(
        latent=normal(*LATENT),
        previous=normal(*LATENT),
        first=normal(*LATENT),
        pose=normal(4),
        past_pose=normal(4),
        command=normal(3),
        task=torch.arange(count) % 2,
        history=torch.ones(count, dtype=torch.bool),
    )


def begun(world: UwmWorld, data: LatentEpisodes, episodes: list[int] | Array) -> UwmState:
    """The world at the first frames of some episodes; an episode's number is its seed."""
    rows = data.begin[episodes]
    tasks = [SPEC.tasks[which] for which in data.task[episodes]]
    return world.begin_latents(data.gather(rows), data.pose[rows], tasks, list(map(int, episodes)))
