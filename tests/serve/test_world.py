"""What is wrong with a message to a world is said, and ends that session alone."""

import numpy as np
import pytest
from websockets.sync.client import connect

from tests.support.serving import DotWorld, Echo, dot_starts, serving
from worldeval.errors import UserError
from worldeval.policy.remote.wire import pack, unpack
from worldeval.serve.client import RemoteWorldEnv
from worldeval.serve.episodes import Setting
from worldeval.serve.policy import PolicyService
from worldeval.serve.world import WorldService

SETTING = Setting(world=DotWorld(), starts=dot_starts(3), horizon=2)


def begin(**content: object) -> bytes:
    return pack({"begin": content})


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"\x91" * 5000, "too deeply"),
        (pack({"step": np.zeros((1, 3), np.float32)}), "No episode has started"),
        (pack({"step": np.zeros((1, 3), np.int64)}), "array of actions"),
        (pack({"look": 1}), "a request must contain 'begin', or 'step'"),
        (begin(starts=[0]), "'seeds' must be a list of non-negative integers"),
        (begin(starts=[-1], seeds=[0]), "'starts' must be a list of non-negative integers"),
        (begin(starts=[7], seeds=[0]), "no start 7; starts are numbered 0 to 2"),
        (begin(starts=[0] * 3, seeds=[0] * 3), "3 starts and 3 seeds"),
        (begin(starts=[True], seeds=[0]), "'starts' must be"),
    ],
)
def test_hostile_messages_are_answered_in_words(message: bytes, said: str) -> None:
    with serving(WorldService(SETTING, episodes=2)) as (url, _):
        with connect(url) as client:
            client.recv()
            client.send(message)
            answer = client.recv(timeout=10)
            assert isinstance(answer, str) and said in answer
        with connect(url) as client:
            client.recv()
            client.send(begin(starts=[2], seeds=[0]))
            answer = client.recv(timeout=10)
            assert isinstance(answer, bytes)
            assert unpack(answer)["pose"].tolist() == [[2, 2, 2]]


def test_episodes_end_at_the_horizon() -> None:
    with serving(WorldService(SETTING)) as (url, _), connect(url) as client:
        client.recv()
        client.send(begin(starts=[0], seeds=[0]))
        client.recv()
        for _ in range(2):
            client.send(pack({"step": np.ones((1, 3), np.float32)}))
            client.recv()
        client.send(pack({"step": np.ones((1, 3), np.float32)}))
        assert client.recv() == "The episodes ended after 2 world frames; call reset."


def test_a_policy_is_no_world() -> None:
    served = serving(PolicyService(Echo()))
    with served as (url, _), pytest.raises(UserError, match="does not serve a world model"):
        RemoteWorldEnv(url)
