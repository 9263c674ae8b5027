"""What training asks, and what it must not look at."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.dots import walks, windows_of
from tests.world.uwm.tiny import TINY, new_model
from worldeval.world.uwm.fit import action_free
from worldeval.world.uwm.loss import (
    CORNERS,
    MomentCutter,
    Moments,
    Times,
    UwmLoss,
    draw_times,
    part_errors,
    spoilt,
)
from worldeval.world.uwm.modes import Noise

LAST = TINY.times
NONE = np.zeros(0, np.int64)


def moments(rows: list[int], *, video: tuple[int, ...] = (), frames: int = 2) -> Moments:
    windows = windows_of(walks(episodes=4))
    return MomentCutter(windows, video=np.array(video, np.int64), successes_only=True).cut(
        torch.tensor(rows), frames
    )


def errors(batch: Moments, actions: list[int], future: list[int], model=None):
    generator = torch.Generator().manual_seed(0)
    return part_errors(
        model or new_model(),
        batch,
        Times(actions=torch.tensor(actions), future=torch.tensor(future)),
        Noise(
            actions=torch.randn(batch.actions.shape, generator=generator),
            future=torch.randn(batch.future.shape, generator=generator),
        ),
    )


def test_moments_hold_the_frames_that_they_name() -> None:
    data = walks(episodes=4)
    batch = moments([9, 13], frames=3)  # the first and a later frame of the second episode
    assert torch.equal(batch.seen.latent, data.gather(np.array([9, 13])))
    assert torch.equal(batch.seen.previous, data.gather(np.array([9, 12])))
    assert torch.equal(batch.seen.first, data.gather(np.array([9, 9])))
    assert torch.equal(batch.future[1], data.gather(np.array([15, 16])))
    assert torch.equal(batch.actions[1], torch.from_numpy(data.actions[13:16]))
    command = np.clip(data.pose[9, 0] + 0.2 * data.actions[9:13, 0].cumsum(), -1, 1)[-1]
    assert float(batch.seen.command[1, 0]) == pytest.approx(float(command), abs=1e-6)


def test_only_what_led_to_success_is_imitated() -> None:
    data = walks(episodes=2, length=4)
    flags = np.array([0, 0, 1, 0, 0, 0, 0, 0], np.uint8)
    windows = windows_of(replace(data, flags=flags))
    chosen = MomentCutter(windows, video=NONE, successes_only=True)
    assert chosen.imitated.int().tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    assert MomentCutter(windows, video=NONE, successes_only=False).imitated.all()
    unknown = windows_of(replace(data, flags=None))
    assert MomentCutter(unknown, video=NONE, successes_only=True).imitated.all()


def test_actions_of_video_have_no_influence_and_no_loss() -> None:
    data = walks(episodes=4)
    other = replace(data, actions=data.actions + 5)
    video = np.array([1])
    found = []
    for each in (data, other):
        cutter = MomentCutter(windows_of(each), video=video, successes_only=False)
        model = new_model()
        batch = cutter.cut(torch.tensor([12, 14]), 2)
        actions, future = errors(batch, [LAST, LAST], [8, LAST], model)
        assert actions.tolist() == [0, 0]
        assert (future > 0).all()
        future.sum().backward()
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_video_always_stands_at_the_last_action_time() -> None:
    generator = torch.Generator().manual_seed(0)
    video = torch.arange(4000) % 2 == 0
    times = draw_times(video, last=LAST, corners=0.6, generator=generator)
    assert (times.actions[video] == LAST).all()
    assert (times.future[video] > 0).float().mean() > 0.9  # never inverse: there is nothing to find
    known = ~video
    forward = (times.actions[known] == 0).float().mean()
    # The corner of forward, and chance among the rest.
    chance = (1 - 0.6 * (CORNERS["forward"] + CORNERS["video"])) * 0.75 / (LAST + 1)
    assert float(forward) == pytest.approx(0.6 * CORNERS["forward"] + chance, abs=0.04)


def test_what_is_given_has_no_error() -> None:
    batch = replace(moments([0, 9, 18]), imitated=torch.ones(3, dtype=torch.bool))
    actions, future = errors(batch, [0, 7, 7], [7, 0, 7])
    assert (actions > 0).tolist() == [False, True, True]
    assert (future > 0).tolist() == [True, False, True]


def test_actions_of_failures_are_learned_as_inverse_dynamics_alone() -> None:
    batch = replace(moments([0, 9, 18]), imitated=torch.tensor([False, False, True]))
    actions, _ = errors(batch, [7, 7, 7], [0, 9, 9])
    assert (actions > 0).tolist() == [True, False, True]


def test_the_error_of_a_silent_network_by_hand() -> None:
    """A new network predicts zero, so the error is the mean square of what it should have said."""
    model, batch = new_model(spoken=False), moments([1])
    times = Times(actions=torch.tensor([5]), future=torch.tensor([9]))
    noise = Noise(actions=torch.randn(batch.actions.shape), future=torch.randn(batch.future.shape))
    batch = replace(batch, imitated=torch.tensor([True]))
    actions, future = part_errors(model, batch, times, noise)
    schedule, change = model.schedule, model.change(batch.future, batch.seen)
    said = schedule.signal[5] * noise.actions - schedule.noise[5] * model.unit_actions(
        batch.actions
    )
    torch.testing.assert_close(actions[0], said.square().mean())
    said = schedule.signal[9] * noise.future - schedule.noise[9] * change
    torch.testing.assert_close(future[0], said.square().mean())
    whole = UwmLoss(model)(batch, times, noise)
    torch.testing.assert_close(whole, actions.mean() + future.mean())


def test_spoiling_leaves_the_start_and_the_answers_alone() -> None:
    batch = moments([9, 13, 20, 29])
    generator = torch.Generator().manual_seed(0)
    given = {"latent_noise": 0.5, "pose_noise": torch.full((3,), 0.01), "history_drop": 0.5}
    worse = spoilt(batch, place=(0, 1, 2), generator=generator, **given)
    assert torch.equal(worse.seen.first, batch.seen.first)
    assert torch.equal(worse.future, batch.future)
    assert (worse.seen.latent - batch.seen.latent).abs().max() > 0.01
    assert not worse.seen.history.all()
    torch.testing.assert_close(  # one offset for both poses: how it moves is not changed
        worse.seen.pose - worse.seen.past_pose, batch.seen.pose - batch.seen.past_pose
    )


@pytest.mark.parametrize(
    ("share", "chosen"), [(0.0, []), (0.5, [1, 3, 5]), (1.0, [0, 1, 2, 3, 4, 5])]
)
def test_video_is_spread_over_the_episodes(share: float, chosen: list[int]) -> None:
    assert action_free(np.arange(6), share).tolist() == chosen
