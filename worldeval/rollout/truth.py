"""Compare a simulator with a world model before anything is imagined, and choose how it is stepped.

A world frame may hold the actions of several controller steps, so the number of simulator steps per
frame follows from the sizes of both actions.
"""

from contextlib import closing

from worldeval.envs.apart import ApartEnvironment, redone
from worldeval.envs.protocol import EnvFrame
from worldeval.errors import UserError
from worldeval.rollout.recipe import TruthRecipe
from worldeval.world.protocol import WorldSpec

SAME_RATE = 0.02  # relative difference of two rates that is attributed to rounding


def fitted_truth(address: str, world: WorldSpec, *, task: str, seed: int) -> TruthRecipe:
    """Open the simulator once and return how it is stepped to measure what `world` predicts.

    Args:
        address: see worldeval/envs/address.py.
        world: the world model's description.
        task: one of the protocol's tasks.
        seed: of the reset whose frame is looked at.

    Raises:
        UserError: the simulator cannot be opened, or its views, proprioception, actions or rate are
            not the world model's; the message says what to do.
    """
    size = max(world.size)
    env = ApartEnvironment(address, task=task, size=size, steps_per_frame=1)
    with closing(env):
        frame = redone(env, lambda: env.reset(seed), f"task '{task}', seed {seed}")
        steps, rest = divmod(world.action_dim, env.action_dim)
        if rest or not steps:
            raise UserError(
                f"{address} takes {env.action_dim} numbers per step; the world model takes "
                f"{world.action_dim} per frame, which is no multiple of it. They are not the same "
                "robot, or not the same action space."
            )
        _compare_observations(address, frame, world)
        rate = env.fps / steps
        if abs(rate / world.fps - 1) > SAME_RATE:
            raise UserError(
                f"{address} makes {rate:g} frames per second ({env.fps:g} steps per second, "
                f"{steps} to a frame); the world model was trained at {world.fps:g}. If the "
                "simulator declares a wrong rate, add fps= (steps per second) to its address."
            )
    return TruthRecipe(env=address, k=steps, size=size)


def _compare_observations(address: str, frame: EnvFrame, world: WorldSpec) -> None:
    missing = [view for view in world.views if view not in frame.frames]
    if missing:
        spare = [view for view in frame.frames if view not in world.views]
        named = ",".join(f"{view}:KEY" for view in missing)
        raise UserError(
            f"The world model has the view{'s' if len(missing) > 1 else ''} {', '.join(missing)}, "
            f"but {address} shows {', '.join(spare or frame.frames)}. For a gymnasium environment, "
            f"name the observation that shows it: views={named}."
        )
    if len(frame.pose) != world.pose_dim:
        raise UserError(
            f"{address} gives {len(frame.pose)} numbers of proprioception, but the world model was "
            f"trained on {world.pose_dim}. For a gymnasium environment, name the observations: "
            "pose=KEY[,KEY]."
        )
