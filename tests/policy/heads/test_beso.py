"""Goals of play data: reached with guidance, and ignored without."""

import pytest
import torch
from torch import Tensor

from tests.policy.heads.toy import TARGET, generators, learn
from worldeval.policy.heads.beso import (
    SIGMA_MAX,
    SIGMA_MIN,
    BesoHead,
    log_logistic,
    scaled,
    scales,
    unit_time,
)
from worldeval.policy.heads.parts import Parts
from worldeval.policy.heads.settings import BesoSettings

PARTS = Parts(seen=4, task=2, pose=2, goal=3)


def play(generator: torch.Generator, rows: int = 128) -> tuple[Tensor, Tensor]:
    """Play that goes anywhere; a goal says where it ended, and the chunk went there."""
    goal = 2 * torch.rand(rows, 2, generator=generator) - 1
    feature = torch.randn(rows, PARTS.now, generator=generator)
    target = goal.repeat(1, TARGET // 2) + 0.05 * torch.randn(rows, TARGET, generator=generator)
    return torch.cat([feature, goal, torch.ones(rows, 1)], -1), target


@pytest.fixture(scope="module")
def head() -> BesoHead:
    torch.manual_seed(0)
    made = BesoHead(PARTS, 64, TARGET, BesoSettings())
    learn(made, play, steps=400)
    return made


def test_goals_are_reached_with_guidance_and_not_without(
    head: BesoHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    feature, _ = play(torch.Generator().manual_seed(8), rows=200)
    goal, missed = feature[:, PARTS.now : PARTS.now + 2], {}
    for guidance in (0.0, 1.0, 1.5):
        monkeypatch.setattr(head, "settings", BesoSettings(guidance=guidance))
        with torch.no_grad():
            ended = head.act(feature, generators(200)).unflatten(1, (-1, 2)).mean(1)
        missed[guidance] = float((ended - goal).abs().mean())
    assert missed[1.0] < 0.15
    assert missed[1.5] < 0.25
    assert missed[0.0] > 3 * missed[1.0]


def test_without_a_goal_it_plays_in_many_ways(head: BesoHead) -> None:
    """In thirty steps; three are enough for a goal, but not for a wide distribution."""
    playing = BesoHead(PARTS, 64, TARGET, BesoSettings(guidance=0.0, steps=30))
    playing.load_state_dict(head.state_dict())
    feature, target = play(torch.Generator().manual_seed(8), rows=200)
    with torch.no_grad():
        ended = playing.act(feature, generators(200))
    assert ended.std() > 0.35 * target.std()


def test_without_a_goal_the_goal_does_not_matter(
    head: BesoHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "settings", BesoSettings(guidance=0.0))
    feature, _ = play(torch.Generator().manual_seed(8), rows=3)
    other = feature.clone()
    other[:, PARTS.now :] += 1
    assert torch.equal(head.act(feature, generators(3)), head.act(other, generators(3)))
    dropped = PARTS.without_goal(feature, torch.tensor([[True], [False], [True]]))
    assert not dropped[[0, 2], PARTS.now :].any()
    assert torch.equal(dropped[1], feature[1])


def test_guidance_goes_on_from_without_to_with(
    head: BesoHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    feature, x = play(torch.Generator().manual_seed(8), rows=3)
    clean = {}
    for guidance in (0.0, 1.0, 2.0):
        monkeypatch.setattr(head, "settings", BesoSettings(guidance=guidance))
        clean[guidance] = head.clean(x, torch.zeros(3, dtype=torch.long), feature)
    torch.testing.assert_close(clean[2.0], 2 * clean[1.0] - clean[0.0])


def test_the_preconditioning_is_the_librarys() -> None:
    schedulers = pytest.importorskip("diffusers.schedulers")
    theirs = schedulers.EDMEulerScheduler(sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX, sigma_data=1.0)
    x, said = torch.randn(4, TARGET), torch.randn(4, TARGET)
    for sigma in (0.05, 1.0, 4.0):
        skip, out = scales(torch.full((4, 1), sigma))
        expected = theirs.precondition_outputs(x, said, torch.tensor(sigma))
        torch.testing.assert_close(skip * x + out * said, expected)


def test_noise_levels_lie_between_the_extremes() -> None:
    u = torch.tensor([[0.0], [0.5], [1.0]])
    levels = log_logistic(u).flatten()
    torch.testing.assert_close(levels[[0, 2]], torch.tensor([SIGMA_MIN, SIGMA_MAX]))
    assert levels[1] == pytest.approx(1.0, rel=0.1)
    path = scaled(torch.tensor([SIGMA_MAX, 1.0, SIGMA_MIN]))
    torch.testing.assert_close(path.signal**2 + path.noise**2, torch.ones(4))
    assert path.time.tolist() == pytest.approx([1, float(unit_time(torch.tensor(1.0))), 0])
    assert path.noise[-1] == 0


def test_three_steps_call_the_network_three_times(head: BesoHead) -> None:
    calls = []
    handle = head.layers.register_forward_hook(lambda *_: calls.append(1))
    feature, _ = play(torch.Generator().manual_seed(8), rows=2)
    head.act(feature, generators(2))
    handle.remove()
    assert len(calls) == 3  # with and without the goal in one batch
