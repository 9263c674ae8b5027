"""Our client against a small server written from the protocol's text, and not from ours."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgpack
import numpy as np
import pytest
from websockets.sync.server import serve

from worldeval.errors import UserError
from worldeval.policy.load import load_policy
from worldeval.policy.protocol import Policy
from worldeval.policy.pulse import WatchedPolicy
from worldeval.policy.remote.connection import ServerError
from worldeval.policy.remote.policy import RemotePolicy
from worldeval.record import Observation

VIEWS = "keys=side=observation/image;state=observation/joints:2+observation/gripper:1"


def remote(address: str) -> RemotePolicy:
    policy = load_policy(address)
    assert isinstance(policy, RemotePolicy)
    return policy


def observation(count: int = 2) -> Observation:
    pose = np.arange(count * 3, dtype=np.float32).reshape(count, 3)
    side = np.stack([np.full((4, 5, 3), 10 * row, np.uint8) for row in range(count)])
    return Observation(
        frames={"side": side}, pose=pose, tasks=tuple(f"task {row}" for row in range(count))
    )


def spoken(array: np.ndarray) -> dict:
    return {
        b"__ndarray__": True,
        b"data": array.tobytes(),
        b"dtype": array.dtype.str,
        b"shape": array.shape,
    }


def heard(value: dict) -> np.ndarray:
    return np.frombuffer(value[b"data"], value[b"dtype"]).reshape(value[b"shape"])


class Plain:
    """An openpi server of a few lines: metadata, then actions that say what was seen."""

    def __init__(self, metadata: dict | None = None) -> None:
        self.metadata, self.requests, self.connections = metadata or {}, [], 0
        self.drop_after: int | None = None  # requests until the connection is cut, once
        self.answer = None  # instead of actions

    def __call__(self, connection) -> None:
        self.connections += 1
        connection.send(msgpack.packb(self.metadata))
        for message in connection:
            request = msgpack.unpackb(message)
            self.requests.append(request)
            if self.drop_after is not None and len(self.requests) > self.drop_after:
                self.drop_after = None
                connection.socket.close()
                return
            if self.answer is not None:
                connection.send(self.answer)
                continue
            joints = heard(request["observation/joints"])
            gripper = heard(request["observation/gripper"])
            bright = heard(request["observation/image"]).mean()
            first = np.array([*joints, *gripper, bright, len(request["prompt"])])
            actions = first + np.arange(4)[:, None]  # float64, four steps
            connection.send(msgpack.packb({"actions": spoken(actions), "server_timing": {}}))


@contextmanager
def running(plain: Plain) -> Iterator[str]:
    with serve(plain, "127.0.0.1", 0, compression=None, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join(10)


def test_a_session_for_every_episode_and_every_number_in_its_place() -> None:
    plain = Plain({"model": "pi"})
    with running(plain) as url:
        policy = remote(f"{url}?{VIEWS}&action_dim=5&chunk=3&name=pi")
        assert isinstance(policy, Policy)
        assert (policy.spec.name, policy.spec.chunk, policy.spec.views) == ("pi", 3, ("side",))
        policy.reset(("task 0", "task 1"), (0, 1))
        before = plain.connections
        chunk = policy.act(observation())
        assert chunk.shape == (2, 3, 5) and chunk.dtype == np.float32
        np.testing.assert_array_equal(chunk[1, 0], [3, 4, 5, 10, 6])
        np.testing.assert_array_equal(chunk[0, 2], [2, 3, 4, 2, 8])
        assert set(plain.requests[0]) == {
            *("observation/image", "observation/joints", "observation/gripper", "prompt")
        }
        assert (before, plain.connections) == (3, 3)  # the first one is renewed by the reset
        policy.reset(("task 0",), (0,))
        assert plain.connections == 4
        policy.close()


def test_a_dropped_connection_is_opened_again_and_the_question_repeated() -> None:
    plain = Plain()
    with running(plain) as url:
        policy = remote(f"{url}?{VIEWS}&action_dim=5&chunk=1")
        policy.reset(("task 0", "task 1"), (0, 1))
        undisturbed = policy.act(observation())
        plain.drop_after = len(plain.requests) + 1
        np.testing.assert_array_equal(policy.act(observation()), undisturbed)
        assert policy.reconnections == 1
        policy.close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("Traceback\n  File x\nValueError: no such\x1b[2J key", r"reports: ValueError: no such"),
        (b"\x91\xc0", "sent a list"),
        (b"\xc1", "not readable msgpack"),
        (msgpack.packb({"action": 1}), "answered with action; 'actions' must be an array"),
        (
            msgpack.packb({"actions": spoken(np.zeros((1, 7)))}),
            r"actions \(1, 7\), but announced \(steps, 5\)",
        ),
        (msgpack.packb({"actions": spoken(np.zeros((5, 5)).astype("S1"))}), "must be numeric"),
    ],
)
def test_what_is_no_answer_is_said(answer, said: str) -> None:
    plain = Plain()
    plain.answer = answer
    with running(plain) as url:
        policy = remote(f"{url}?{VIEWS}&action_dim=5&chunk=1")
        policy.reset(("task 0",), (0,))
        with pytest.raises(ServerError, match=said) as caught:
            policy.act(observation(1))
        assert "\x1b" not in str(caught.value)
        policy.close()


def test_a_silent_server_is_given_its_time_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Plain()

    def silent(timeout: float) -> bytes:
        assert timeout in (0.05, 0)
        raise TimeoutError

    with running(plain) as url:
        policy = remote(f"{url}?{VIEWS}&action_dim=5&chunk=1&timeout=0.05")
        policy.reset(("task 0",), (0,))
        monkeypatch.setattr(policy._connections[0]._socket, "recv", silent)
        policy.act(observation(1))  # the second connection answers
        assert policy.reconnections == 1
        policy.close()


def test_mistakes_say_what_to_do() -> None:
    with running(Plain({"model": "pi"})) as url:
        with pytest.raises(UserError, match=r"metadata has: model.*keys=droid&action_dim=8"):
            load_policy(url)
        with pytest.raises(UserError, match="there is no key 'chunks'"):
            load_policy(f"{url}?chunks=1")
        with pytest.raises(UserError, match="WORLDEVAL_TOKEN"):
            load_policy(f"{url}?token=secret")
        with pytest.raises(UserError, match="Did you mean 'droid'"):
            load_policy(f"{url}?keys=droit&action_dim=8&chunk=1")
        policy = remote(f"{url}?keys=top=observation/image&action_dim=5&chunk=1")
        policy.reset(("task 0",), (0,))
        with pytest.raises(UserError, match="needs view 'top', but the world has side"):
            policy.act(observation(1))
        policy.close()
    with pytest.raises(ServerError, match=r"No server answers at .* serve-policy"):
        load_policy(f"{url}?wait=0.1")


def test_an_answer_that_nobody_asked_for_is_refused() -> None:
    """One answer too many would move all later ones by one."""

    class Twice(Plain):
        def __call__(self, connection) -> None:
            self.connections += 1
            connection.send(msgpack.packb(self.metadata))
            for _ in connection:
                answer: bytes = msgpack.packb({"actions": spoken(np.zeros((1, 5)))})  # type: ignore
                frame = b"\x82\x7e" + len(answer).to_bytes(2, "big") + answer
                connection.socket.sendall(frame + frame)  # in one piece, so before any pong

    with running(Twice()) as url:
        policy = remote(f"{url}?{VIEWS}&action_dim=5&chunk=1")
        policy.reset(("task 0",), (0,))
        policy.act(observation(1))
        with pytest.raises(ServerError, match="an unrequested answer"):
            policy.settle()
        policy.reset(("task 0",), (0,))
        policy.act(observation(1))
        with pytest.raises(ServerError, match="an unrequested answer"):
            policy.act(observation(1))
        policy.close()
        called = load_policy(f"{url}?{VIEWS}&action_dim=5&chunk=1&lineage=other")
        watched = WatchedPolicy(called)  # as a worker holds it, with labels in between
        watched.reset(("task 0",), (0,))
        watched.act(observation(1))
        with pytest.raises(ServerError, match="an unrequested answer"):
            watched.settle()


def test_metadata_with_arrays_is_compared_when_a_session_is_renewed() -> None:
    """As servers of others send it: statistics beside a name; any key may hold an array."""
    said = {
        "stats": spoken(np.arange(3.0)),
        "name": spoken(np.zeros(2)),
        "worldeval": spoken(np.ones(2)),
    }
    plain = Plain(said)
    with running(plain) as url:
        policy = remote(f"{url}?{VIEWS}&action_dim=5&chunk=1")
        for _ in range(2):
            policy.reset(("task 0", "task 1"), (0, 1))
            assert policy.act(observation()).shape == (2, 1, 5)
        plain.metadata = {**said, "stats": spoken(np.arange(3.0) + 1)}
        with pytest.raises(ServerError, match="has changed since it was reconnected"):
            policy.reset(("task 0", "task 1"), (0, 1))
        policy.close()


def test_a_server_that_stops_reading_is_given_its_time() -> None:
    """Its handler takes nothing, so that the request fills every buffer on its way."""
    over = threading.Event()

    def deaf(connection) -> None:
        connection.send(msgpack.packb({}))
        over.wait(30)

    big = np.zeros((1, 3000, 4000, 3), np.uint8)
    seen = Observation(frames={"side": big}, pose=np.zeros((1, 3), np.float32), tasks=("task",))
    with serve(deaf, "127.0.0.1", 0, compression=None, max_size=2**20, max_queue=1) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        policy = remote(f"{url}?{VIEWS}&action_dim=5&chunk=1&timeout=0.3&wait=0.3")
        policy.reset(("task",), (0,))
        with pytest.raises(ServerError, match=r"The server at .* (did not|closed)"):
            policy.act(seen)
        over.set()
        server.shutdown()
        thread.join(10)


def test_a_history_travels_oldest_first() -> None:
    """Two moments, of one episode: an image is (2 h w 3), a state (2 p)."""
    heard_shapes = []

    class Looking(Plain):
        def __call__(self, connection) -> None:
            connection.send(msgpack.packb({}))
            for message in connection:
                request = msgpack.unpackb(message)
                joints = heard(request["observation/joints"])
                heard_shapes.append((heard(request["observation/image"]).shape, joints.shape))
                actions = np.array([[*joints[:, 0], 0, 0, 0]])
                connection.send(msgpack.packb({"actions": spoken(actions)}))

    with running(Looking()) as url:
        policy = remote(f"{url}?{VIEWS}&action_dim=5&chunk=1&history=2")
        assert policy.spec.history == 2
        policy.reset(("task 0", "task 1"), (0, 1))
        before = observation()
        now = Observation(
            frames=before.frames, pose=before.pose + 10, tasks=before.tasks, past=(before,)
        )
        np.testing.assert_array_equal(policy.act(now)[:, 0, :2], [[0, 10], [3, 13]])
        assert set(heard_shapes) == {((2, 4, 5, 3), (2, 2))}
        policy.close()


def test_pictures_travel_in_the_servers_form_and_cameras_by_either_name() -> None:
    """openpi's DROID keys in a world of DROID's own file names; 224 x 224, padded, blue first."""
    plain = Plain()
    keys = "keys=droid&action_dim=5&chunk=1&size=10&bgr=true"
    frames = np.zeros((1, 4, 8, 3), np.uint8)
    frames[..., 0] = 200
    seen = Observation(
        frames={"exterior_1": frames, "wrist": frames, "exterior_2": frames},
        pose=np.zeros((1, 8), np.float32),
        tasks=("task",),
    )
    plain.answer = msgpack.packb({"actions": spoken(np.zeros((1, 5)))})
    with running(plain) as url:
        policy = remote(f"{url}?{keys}")
        policy.reset(("task",), (0,))
        policy.act(seen)
        policy.close()
    image = heard(plain.requests[0]["observation/exterior_image_1_left"])
    assert image.shape == (10, 10, 3)
    assert (image[..., 2].max(), image[..., 0].max()) == (200, 0)
    assert not image[0].any() and not image[-1].any()  # above and below it is padded


def test_a_server_may_say_many_parts_and_its_rate() -> None:
    space = ", ".join(f"arm number {index}: joint-position(7,deg)+1" for index in range(9))
    with running(Plain({"space": space, "fps": 50.0})) as url:
        policy = remote(f"{url}?{VIEWS}&action_dim=5&chunk=3")
        assert (policy.spec.space, policy.spec.fps) == (space, 50.0)
        policy.close()
