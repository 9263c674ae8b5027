"""The state of the objects in recorded episodes: the same actions from the same seed, simulated."""

from collections.abc import Callable
from contextlib import closing
from functools import partial

import numpy as np

from worldeval.axes import Array, Float32, Int
from worldeval.data.columns import Groups, names
from worldeval.data.source import Source
from worldeval.envs.apart import ApartEnvironment, redone
from worldeval.errors import UserError

SAME = 1e-3  # largest difference of a pose from the recorded one, in the pose's own units


def replayed_objects(
    address: str, *, task: str, say: Callable[[str], None] = lambda text: None
) -> tuple[Groups, Callable[[Source, Int[Array, " e"], int], Float32[Array, "e t o"]]]:
    """Return what the simulator's object states mean, and a function that reads them.

    Args:
        address: of the simulator in which the episodes were recorded (worldeval/envs/address.py).
        task: one of its tasks.
        say: called with progress messages.

    Raises:
        UserError: the simulator cannot be opened, or does not tell the state of its objects. By the
            function: an episode has no seed, or comes out otherwise than it was recorded.
    """
    with closing(_opened(address, task, steps=1)) as env:
        columns, width = env.object_columns, env.action_dim
    if not columns:
        raise UserError(
            f"{address} does not tell the state of its objects, so that no probe can learn it. A "
            "simulator tells it by `object_columns` and `EnvFrame.objects` "
            "(worldeval/envs/protocol.py); gym: environments by objects=KEY."
        )
    return columns, partial(_read, address, columns, width, say)


def _read(
    address: str,
    columns: Groups,
    width: int,
    say: Callable[[str], None],
    source: Source,
    episodes: Int[Array, " e"],
    frames: int,
) -> Float32[Array, "e t o"]:
    stored = len(source.spec.action_names)
    steps, rest = divmod(stored, width)
    if rest or not steps:
        raise UserError(
            f"{address} takes {width} numbers per step, of which the {stored} of a recorded action "
            "are no multiple. It is not the simulator in which these episodes were recorded."
        )
    out = np.zeros((len(episodes), frames, len(names(columns))), np.float32)
    of_task: dict[str, list[int]] = {}
    for place, episode in enumerate(episodes.tolist()):
        of_task.setdefault(source.heads[episode].task, []).append(place)
    for task, places in of_task.items():
        say(f"replaying {len(places)} episodes of {task} in {address}")
        with closing(_opened(address, task, steps=steps)) as env:
            for place in places:
                once = partial(_episode, env, source, int(episodes[place]), frames)
                out[place] = redone(env, once, f"episode {source.heads[episodes[place]].id}")
    return out


def _episode(
    env: ApartEnvironment, source: Source, episode: int, frames: int
) -> Float32[Array, "t o"]:
    """Run one episode again, and compare its poses with the recorded ones."""
    head, rows = source.heads[episode], source.rows(episode)
    if head.seed is None:
        raise UserError(
            f"Episode '{head.id}' of {source.spec.path} has no seed, so it cannot be replayed. "
            "Record episodes with `worldeval data collect`."
        )
    count = min(frames, head.length)
    seen = [env.reset(head.seed)]
    for action in rows.actions[: count - 1]:
        seen.append(env.step(action, look=False))
    pose = np.stack([frame.pose for frame in seen])
    apart = float(np.abs(pose - rows.pose[:count]).max())
    if not apart <= SAME:
        raise UserError(
            f"Episode '{head.id}' of {source.spec.path} comes out otherwise in the simulator: its "
            f"pose differs by up to {apart:.3g}. Name the simulator, and the version of it, in "
            "which it was recorded."
        )
    states = []
    for frame in seen:
        if frame.objects is None:
            raise UserError(
                f"The simulator declares object_columns, but a frame of episode '{head.id}' has no "
                "`objects`. Give them in every EnvFrame."
            )
        states.append(frame.objects)
    return np.stack([*states, *[states[-1]] * (frames - count)]).astype(np.float32)


def _opened(address: str, task: str, *, steps: int) -> ApartEnvironment:
    return ApartEnvironment(address, task=task, size=64, steps_per_frame=steps)
