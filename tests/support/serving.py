"""A server in a thread of the test, and a world whose every number is known."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from worldeval.policy.protocol import PolicySpec
from worldeval.policy.remote.connection import Connection
from worldeval.record import Start
from worldeval.serve.server import Server, ServerConfig, Service
from worldeval.world.protocol import WorldSpec


@contextmanager
def serving(service: Service, **config) -> Iterator[tuple[str, Server]]:
    """The address of a server that runs for the length of the block, and the server."""
    server = Server(service, ServerConfig(port=0, **config))
    listening, address = threading.Event(), []
    loop = asyncio.new_event_loop()

    def ready(said: str) -> None:
        address.append(said)
        listening.set()

    def work() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(server.run(ready))
        except asyncio.CancelledError:
            pass
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert listening.wait(30), "the server did not begin to listen"
    try:
        yield address[0], server
    finally:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        thread.join(30)
        assert not thread.is_alive()


def cut_off(connection: Connection) -> None:
    """What a broken network does to a connection."""
    assert connection._socket is not None
    connection._socket.socket.shutdown(socket.SHUT_RDWR)


class DotWorld:
    """Pose plus the action is the next pose; pictures are as bright as the first coordinate."""

    spec = WorldSpec(
        views=("side", "top"),
        size=(8, 8),
        latent=(1, 1, 3),
        action_dim=3,
        pose_dim=3,
        tasks=("left", "right"),
        fps=10.0,
    )

    def begin(self, frames, pose, tasks, seeds):
        return pose

    def step(self, state, actions):
        return state + actions

    def latents(self, state):
        return np.repeat(state[:, None, None, None], 2, axis=1).astype(np.float32)

    def pose(self, state):
        return state.astype(np.float32)

    def render(self, latents, tasks):
        bright = np.clip(128 + 10 * latents[:, 0, 0, 0, 0], 0, 255).astype(np.uint8)
        frames = np.broadcast_to(bright[:, None, None, None], (len(bright), 8, 8, 3)).copy()
        return {"side": frames, "top": frames // 2}


def dot_starts(count: int) -> list[Start]:
    picture = np.zeros((8, 8, 3), np.uint8)
    return [
        Start(
            id=f"start-{number}",
            task=DotWorld.spec.tasks[number % 2],
            seed=number,
            frames={"side": picture, "top": picture},
            pose=np.full(3, number, np.float32),
        )
        for number in range(count)
    ]


class Echo:
    """A policy whose actions say what it saw: state, brightness, prompt's length, seed, call."""

    def __init__(self, *, name: str = "echo", chunk: int = 2) -> None:
        self.spec = PolicySpec(
            name=name, lineage=name, step=7, views=("side", "top"), action_dim=8, chunk=chunk
        )
        self._seeds: Sequence[int] = ()
        self._calls = 0

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        self._seeds, self._calls = seeds, 0

    def act(self, observation):
        self._calls += 1
        columns = [
            observation.pose[:, :3],
            *(observation.frames[view].mean(axis=(1, 2, 3))[:, None] for view in ("side", "top")),
            np.array([[len(task)] for task in observation.tasks]),
            np.array([[seed] for seed in self._seeds]),
            np.full((len(observation), 1), self._calls),
        ]
        told = np.concatenate(columns, axis=1).astype(np.float32)
        return np.repeat(told[:, None], self.spec.chunk, axis=1)
