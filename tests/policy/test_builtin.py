import numpy as np

from worldeval.policy.builtin import ColouredNoise, Random, Replay, Zero
from worldeval.policy.protocol import Policy
from worldeval.record import Observation


def observation(count: int) -> Observation:
    frames = np.zeros((count, 8, 8, 3), np.uint8)
    pose = np.zeros((count, 4), np.float32)
    return Observation(frames={"side": frames, "top": frames}, pose=pose, tasks=("a",) * count)


def test_zero_does_nothing() -> None:
    policy = Zero(action_dim=8, chunk=3)
    assert isinstance(policy, Policy)
    policy.reset(("a", "a"), (1, 2))
    acted = policy.act(observation(2))
    assert acted.shape == (2, 3, 8)
    assert not acted.any()


def test_random_follows_the_episodes_seed_whatever_the_batch() -> None:
    policy = Random(action_dim=8, chunk=2)
    policy.reset(("a",) * 3, (5, 6, 7))
    together = [policy.act(observation(3)) for _ in range(2)]
    policy.reset(("a",), (6,))
    alone = [policy.act(observation(1)) for _ in range(2)]
    np.testing.assert_array_equal(np.stack(together)[:, 1], np.stack(alone)[:, 0])
    assert not np.allclose(together[0][0], together[0][1])
    assert np.abs(together[0]).max() <= 1


def test_coloured_noise_has_its_size_and_memory() -> None:
    noise = ColouredNoise(4, size=0.5, memory=0.9)
    noise.reset([np.random.default_rng(seed) for seed in range(200)])
    steps = noise.chunk(20, 8).reshape(200, 40, 4)
    assert abs(steps.std() - 0.5) < 0.02
    now, later = steps[:, :-1].ravel(), steps[:, 1:].ravel()
    assert abs(np.corrcoef(now, later)[0, 1] - 0.9) < 0.02


def test_replay_plays_each_recording_and_then_rests() -> None:
    recorded = [np.full((2, 4), 0.5, np.float32), np.full((3, 4), -0.5, np.float32)]
    policy = Replay(recorded)
    policy.reset(("a", "a"), (0, 0))
    played = np.stack([policy.act(observation(2))[:, 0, 0] for _ in range(4)])
    np.testing.assert_array_equal(played, [[0.5, -0.5], [0.5, -0.5], [0, -0.5], [0, 0]])
    policy.reset(("a", "a"), (0, 0))
    assert policy.act(observation(2))[0, 0, 0] == 0.5
