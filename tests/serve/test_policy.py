"""Our server against a client written from the protocol's text; and the two of ours together."""

import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.support.serving import Echo, cut_off, serving
from worldeval.errors import UserError
from worldeval.policy.load import load_policy
from worldeval.policy.remote.dialect import read_keys
from worldeval.policy.remote.policy import RemotePolicy, server_fingerprint
from worldeval.policy.remote.wire import MessageLimits
from worldeval.record import Observation
from worldeval.serve.policy import PolicyService, content_of
from worldeval.serve.server import ServerConfig


def array(value: np.ndarray) -> dict:
    return {
        b"__ndarray__": True,
        b"data": value.tobytes(),
        b"dtype": value.dtype.str,
        b"shape": value.shape,
    }


def packed(content: Any) -> bytes:
    raw = msgpack.packb(content)
    assert raw is not None
    return raw


def remote(address: str) -> RemotePolicy:
    policy = load_policy(address)
    assert isinstance(policy, RemotePolicy)
    return policy


def question(*, state=(1, 2, 3), prompt: Any = "pick up", bright=(50, 70), **more) -> bytes:
    images = [np.full((6, 4, 3), level, np.uint8) for level in bright]
    return packed(
        {
            "observation/side": array(images[0]),
            "observation/top": array(images[1]),
            "observation/state": array(np.array(state, np.float32)),
            "prompt": prompt,
            **more,
        }
    )


def actions(answer: bytes | str) -> np.ndarray:
    assert isinstance(answer, bytes), answer
    raw = msgpack.unpackb(answer)
    assert raw["server_timing"]["infer_ms"] >= 0
    found = raw["actions"]
    return np.frombuffer(found[b"data"], found[b"dtype"]).reshape(found[b"shape"])


def observation(count: int) -> Observation:
    rng = np.random.default_rng(count)
    return Observation(
        frames={v: rng.integers(0, 255, (count, 6, 4, 3), np.uint8) for v in ("side", "top")},
        pose=rng.normal(size=(count, 3)).astype(np.float32),
        tasks=tuple("abc"[row % 3] * (row + 1) for row in range(count)),
    )


def test_an_openpi_client_is_answered() -> None:
    with serving(PolicyService(Echo(), seed=40)) as (url, _), connect(url) as client:
        metadata = msgpack.unpackb(client.recv())
        assert (metadata["name"], metadata["action_dim"], metadata["chunk"]) == ("echo", 8, 2)
        client.send(question())
        chunk = actions(client.recv())
        assert chunk.shape == (2, 8)
        np.testing.assert_array_equal(chunk[0], [1, 2, 3, 50, 70, 7, 40, 1])
        client.send(question())
        assert actions(client.recv())[0, 7] == 2  # the same episode goes on
        client.send(question(prompt="put down now"))
        assert actions(client.recv())[0, 5:].tolist() == [12, 40, 1]  # a new task begins anew
        with connect(url) as other:
            other.recv()
            other.send(question())
            assert actions(other.recv())[0, 6:].tolist() == [41, 1]  # a session of its own


def test_clients_with_other_keys_are_understood() -> None:
    keys = read_keys("side=image;top=wrist;state=joints:2+gripper:1;prompt=task")
    with serving(PolicyService(Echo(), keys=keys)) as (url, _), connect(url) as client:
        client.recv()
        image = np.full((6, 4, 3), 9, np.uint8)
        request = {"image": array(image), "wrist": array(image), "task": "go", "gripper": 0.5}
        request["joints"] = array(np.array([3, 4.0]))
        client.send(packed(request))
        np.testing.assert_array_equal(actions(client.recv())[0, :6], [3, 4, 0.5, 9, 9, 2])


@pytest.mark.parametrize("sessions", ["batch", "episode"])
def test_ours_far_away_is_ours_here(sessions: str) -> None:
    """Whole batches in one session, or a session an episode; also over a cut connection."""
    here = Echo()
    with serving(PolicyService(Echo())) as (url, server):
        there = remote(f"{url}?sessions={sessions}")
        assert there.spec == here.spec
        for count in (3, 2):
            seen = observation(count)
            for policy in (here, there):
                policy.reset(seen.tasks, range(count))
            for step in range(4):
                if step == 2:
                    cut_off(there._connections[-1])
                np.testing.assert_array_equal(there.act(seen), here.act(seen))
        assert there.reconnections >= 1
        there.close()
        assert server.errors == 0


def test_another_policy_behind_the_same_address_is_noticed() -> None:
    service = PolicyService(Echo())
    with serving(service) as (url, server):
        there = remote(url)
        there.reset(("a",), (0,))
        server._metadata = packed({**service.metadata, "name": "another"})
        cut_off(there._connections[0])
        with pytest.raises(UserError, match="another instead of echo"):
            there.act(observation(1))
        there.close()


def test_a_changed_checkpoint_under_the_same_name_is_noticed(tmp_path: Path) -> None:
    said = []
    for weights in (b"one", b"two", b"two"):
        (tmp_path / "weights").write_bytes(weights)
        service = PolicyService(Echo(), content=content_of(str(tmp_path)))
        with serving(service) as (url, _):
            said.append(server_fingerprint(url))
    assert said[0] != said[1] == said[2]
    with serving(PolicyService(Echo())) as (url, _):
        assert server_fingerprint(url) is None  # its name and sizes say nothing of its weights
    (tmp_path / "fit").mkdir()
    fit = {"adapter": str(tmp_path / "fit")}
    plain, sized = content_of(str(tmp_path)), content_of(str(tmp_path), {"size": 2})
    adapted = content_of(str(tmp_path / "weights"), fit)
    (tmp_path / "fit" / "adapter.json").write_text("{}")
    assert plain != sized and adapted != content_of(str(tmp_path / "weights"), fit)
    assert content_of("random") == content_of("package.module:Class") == ""
    assert content_of(f"{tmp_path / 'weights'}:make") == content_of(str(tmp_path / "weights"))


def test_a_token_is_asked_for_and_health_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(PolicyService(Echo()), token="s3cret") as (url, _):
        for headers in ({}, {"Authorization": "Api-Key S3cret"}, {"Authorization": "s3cret"}):
            with (
                pytest.raises(InvalidStatus, match="401"),
                connect(url, additional_headers=headers),
            ):
                pass
        with pytest.raises(UserError, match="Set WORLDEVAL_TOKEN"):
            load_policy(url)
        monkeypatch.setenv("WORLDEVAL_TOKEN", "s3cret")
        with pytest.raises(UserError, match="meant for it, set WORLDEVAL_TOKEN_127_0_0_1"):
            load_policy(url)
        monkeypatch.setattr(sys, "argv", ["worldeval", "rank", "x", "--policies", f"{url}?name=a"])
        policy = remote(url)
        policy.reset(("a",), (0,))
        assert policy.act(observation(1)).shape == (1, 2, 8)
        policy.close()
        health = urllib.request.urlopen(url.replace("ws", "http", 1) + "/healthz").read()
        assert health == b"OK\n"


def test_nobody_listens_to_everybody_by_accident() -> None:
    with pytest.raises(UserError, match="without a token lets anyone"):
        ServerConfig(host="0.0.0.0")
    ServerConfig(host="0.0.0.0", token="x")
    ServerConfig(host="0.0.0.0", open=True)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"\x91" * 5000, "too deeply"),
        (question()[:-3], "not readable msgpack"),
        (packed([1]), "a map whose keys are texts"),
        (packed({"prompt": "x"}), "'observation/side' is missing (available: prompt)"),
        (question(prompt=3), "a list with one text per episode"),
        (question(prompt=["a", "b"]), "expected uint8 of shape"),
        (question(reset={"tasks": ["a"], "seeds": [-1]}), "list of non-negative integers"),
        (question(reset={"tasks": ["a"], "seeds": []}), "1 tasks and 0 seeds"),
        (question(reset={"tasks": ["a"] * 2000, "seeds": [0] * 2000}), "a batch has 1 to 1024"),
        ("a text", "a binary message"),
        (b"\0" * 20_001, "message too big"),
    ],
)
def test_hostile_messages_end_the_session_and_nothing_else(message, said: str) -> None:
    limits = MessageLimits(message=20_000)
    with serving(PolicyService(Echo()), limits=limits) as (url, server):
        with connect(url) as client:
            client.recv()
            client.send(message)
            try:
                heard = client.recv(timeout=10)
            except Exception as error:  # the library's own refusal of what is too big
                heard = str(error)
            assert said in str(heard)
        with connect(url) as client:
            client.recv()
            client.send(question())
            assert actions(client.recv()).shape == (2, 8)
        assert server.port


def test_a_policy_that_breaks_says_so_and_the_server_goes_on() -> None:
    class Broken(Echo):
        def act(self, observation):
            if observation.tasks[0] == "break":
                raise ZeroDivisionError("a bug")
            return super().act(observation)

    with serving(PolicyService(Broken())) as (url, _):
        with connect(url) as client:
            client.recv()
            client.send(question(prompt="break"))
            assert client.recv() == "ZeroDivisionError: a bug"
        with connect(url) as client:
            client.recv()
            client.send(question())
            assert actions(client.recv()).shape == (2, 8)


def test_a_policy_that_cannot_be_copied_is_loaded_anew_for_every_session() -> None:
    class Locked(Echo):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

    loaded = []

    def again() -> Locked:
        loaded.append(Locked())
        return loaded[-1]

    with serving(PolicyService(Locked(), again=again)) as (url, _):
        for _ in range(2):
            with connect(url) as client:
                client.recv()
                client.send(question())
                assert actions(client.recv())[0, 7] == 1
    assert len(loaded) == 2
    with serving(PolicyService(Locked())) as (url, _), connect(url) as client:
        client.recv()
        client.send(question())
        assert "echo cannot be copied for a session" in str(client.recv())


def test_as_many_sessions_as_allowed_and_none_that_sleeps() -> None:
    served = serving(PolicyService(Echo()), sessions=1, idle=0.3)
    with served as (url, _), connect(url) as first:
        first.recv()
        with pytest.raises(InvalidStatus, match="503"), connect(url):
            pass
        assert first.recv(timeout=10) == "No request arrived within 0.3 s."


def test_a_policy_in_numpy_is_served_without_anything_heavy() -> None:
    """What `serve-policy` imports: it must run in somebody else's environment."""
    code = (
        "import sys\n"
        "from worldeval.api import serve as api\n"
        "from worldeval.cli import serve\n"
        "from worldeval.policy.load import load_policy\n"
        "from worldeval.serve.policy import PolicyService\n"
        "from worldeval.serve.server import Server, ServerConfig\n"
        "service = PolicyService(load_policy('random', {'chunk': 2}))\n"
        "Server(service, ServerConfig())\n"
        "service.session()\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"numpy", "msgpack", "websockets"} <= loaded
    heavy = ("torch", "scipy", "pandas", "h5py", "pyarrow", "av", "mujoco", "gymnasium", "einops")
    assert not loaded & {*heavy, "matplotlib", "safetensors", "accelerate", "dacite", "jinja2"}


class Normalising(Echo):
    """Rewrites its observation, as many policies do."""

    def act(self, observation):
        told = super().act(observation)
        observation.pose[:] = 0
        for picture in observation.frames.values():
            picture[:] = 0
        return told


def test_a_policy_behind_a_server_may_rewrite_what_it_sees() -> None:
    asked = observation(3)
    with (
        serving(PolicyService(Normalising())) as (url, _),
        serving(PolicyService(Echo())) as (
            plain,
            _,
        ),
    ):
        answers = []
        for policy in (remote(url), remote(plain)):
            policy.reset(asked.tasks, [1, 2, 3])
            answers.append([policy.act(asked) for _ in range(2)])
    np.testing.assert_array_equal(answers[0], answers[1])
