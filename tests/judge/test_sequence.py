"""The judge of sequences: causal, with progress that a clock cannot fake, and abstention."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from worldeval.errors import UserError
from worldeval.judge.abstain import abstention_bound
from worldeval.judge.calibrate import Calibration
from worldeval.judge.examples import Examples
from worldeval.judge.fit import FittedJudge, fit_judge
from worldeval.judge.learned import LearnedJudge, save_judge
from worldeval.judge.load import load_judge
from worldeval.judge.network import JudgeNet
from worldeval.judge.progress import ALMOST, best_so_far, progress_loss, progress_target
from worldeval.judge.recipe import JudgeRecipe
from worldeval.judge.sequence import SequenceNet, new_network
from worldeval.recipe import load
from worldeval.record import Rollout
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.protocol import WorldSpec

SIZES = {"latent": (1, 2, 4, 4), "pose_dim": 3, "tasks": 2}
SMALL = JudgeRecipe(network="sequence", channels=4, hidden=16, heads=2, members=2, dropout=0.0)
SPEC = WorldSpec(
    views=("top",), size=(8, 8), latent=(2, 4, 4), action_dim=2, pose_dim=3,
    tasks=("close", "open"), fps=10.0,
)  # fmt: skip


def quiet(stage: str, steps: int):
    return lambda step, loss: None


def batch(frames: int = 6) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(3)
    latents = torch.randn(2, frames, *SIZES["latent"], generator=rng)
    return latents, torch.randn(2, frames, 3, generator=rng), torch.tensor([0, 1])


def test_no_later_frame_changes_what_is_read() -> None:
    net, (latents, pose, task) = SequenceNet(SMALL, **SIZES).eval(), batch()
    whole = net(latents, pose, task)
    for count in (1, 3):
        part = net(latents[:, :count], pose[:, :count], task)
        torch.testing.assert_close(part.logits, whole.logits[:, :count])
        torch.testing.assert_close(part.progress, whole.progress[:, :count])
    changed = net(latents, pose + torch.tensor([0.0, 0, 0, 9, 0, 0])[:, None], task)
    torch.testing.assert_close(changed.logits[:, :3], whole.logits[:, :3])
    assert not torch.allclose(changed.logits[:, 3:], whole.logits[:, 3:])


def test_an_earlier_frame_changes_the_verdict_but_not_the_progress() -> None:
    net, (latents, pose, task) = SequenceNet(SMALL, **SIZES).eval(), batch()
    moved = latents.clone()
    moved[:, 2] += 3
    before, after = net(latents, pose, task), net(moved, pose, task)
    assert not torch.allclose(before.logits[:, -1], after.logits[:, -1])
    torch.testing.assert_close(before.progress[:, 3:], after.progress[:, 3:])


def test_waiting_at_the_start_is_no_progress() -> None:
    net, (latents, pose, task) = SequenceNet(SMALL, **SIZES).eval(), batch()
    still = net(latents[:, :1].expand_as(latents), pose[:, :1].expand_as(pose), task).progress
    assert best_so_far(still.detach().numpy()).max() == 0


def test_the_target_is_the_share_of_the_time_to_success() -> None:
    achieved = torch.tensor([[0.0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]])
    timed, last = torch.tensor([True, False, True]), torch.tensor([5, 2, 5])
    target = progress_target(achieved, timed, last)
    assert target[0].tolist() == [0, 0.25, 0.5, 0.75, 1, 1]
    assert target[1].tolist() == [0, 0.5, 1, 1, 1, 1]
    target[2] = ALMOST
    assert progress_loss(target, achieved, timed, last) == 0
    target[2, 3] = 1  # but it failed
    assert progress_loss(target, achieved, timed, last) == pytest.approx(0.01 / 18)


def test_progress_is_the_best_so_far_beyond_the_start() -> None:
    shown = best_so_far(np.array([[0.2, 0.6, 0.4, 1.0], [0.5, 0.4, 0.5, 0.3]], np.float32))
    np.testing.assert_allclose(shown, [[0, 0.5, 0.5, 1], [0, 0, 0, 0]], atol=1e-6)


def test_a_bound_is_kept_only_where_the_doubted_are_judged_worse() -> None:
    success = np.array([True] * 5 + [False] * 5)
    sure = np.where(success, 0.9, 0.1)
    apart = np.array([0.0] * 9 + [0.4])
    wrong = np.array([sure - apart / 2, sure + apart / 2])
    assert abstention_bound(wrong, success, share=0.1) is None  # all are judged rightly
    wrong[:, -1] = [0.5, 0.9]
    bound = abstention_bound(wrong, success, share=0.1)
    assert bound == pytest.approx(0.0)
    assert abstention_bound(wrong, success, share=0.0) is None


def rollouts() -> list[Rollout]:
    latents, pose, _ = batch()
    return [
        Rollout(
            start=f"{task}-0", task=task, policy="p", seed=0, actions=np.zeros((5, 2), np.float32),
            pose=pose[row].numpy(), latents=latents[row].numpy(),
        )
        for row, task in enumerate(SPEC.tasks)
    ]  # fmt: skip


def saved(folder: Path, *, above: float | None) -> LearnedJudge:
    torch.manual_seed(0)
    fitted = FittedJudge(
        members=[new_network(SMALL, **SIZES) for _ in range(2)],
        calibration=Calibration(slope=1.0, offsets=(0.0, 0.0)),
        left_out={},
        abstain_above=above,
    )
    save_judge(folder, fitted, SMALL, SPEC, world="w")
    judge = load_judge(folder)
    assert isinstance(judge, LearnedJudge)
    return judge


def test_it_is_saved_with_its_network_and_its_bound(tmp_path: Path) -> None:
    judged = saved(tmp_path / "always", above=None).judged(rollouts())
    assert not any(judged.abstained) and judged.progress is not None
    votes = [max(each.votes) - min(each.votes) for each in judged.verdicts]
    assert [each.progress for each in judged.verdicts] == judged.progress[:, -1].tolist()
    assert (np.diff(judged.progress, axis=1) >= 0).all() and (judged.progress[:, 0] == 0).all()
    bound = float(np.mean(votes))  # between the two
    doubting = saved(tmp_path / "seldom", above=bound).judged(rollouts())
    for each, apart, reason in zip(doubting.verdicts, votes, doubting.abstained, strict=True):
        assert np.isnan(each.probability) == (apart > bound) == bool(reason)
    np.testing.assert_allclose(doubting.evidence, judged.evidence)


def examples() -> Examples:
    """Episodes that succeed by raising the first number of their latents, slowly."""
    count, frames, rng = 32, 7, np.random.default_rng(5)
    success = np.arange(count) % 2 == 0
    goal = np.where(success, 1.0, rng.uniform(0, 0.6, count))
    height = np.minimum(np.arange(frames) / 5, 1)[None] * goal[:, None]
    latents = rng.normal(0, 0.1, (count, frames, *SIZES["latent"]))
    latents[..., 0, :, :] += 3 * height[..., None, None, None]
    poses = rng.normal(0, 0.1, (count, frames, 3)).astype(np.float32)
    return Examples(
        imagined=latents.astype(np.float16), recorded=latents.astype(np.float16),
        imagined_pose=poses, recorded_pose=poses,
        achieved=success[:, None] & (height >= 1 - 1e-6), task=np.zeros(count, int),
        family=np.array([f"family-{index // 2 % 4}" for index in range(count)], dtype=object),
    )  # fmt: skip


def test_it_learns_success_and_how_far_failures_came() -> None:
    trainer = TrainerRecipe(steps=150, batch=16, learning_rate=5e-3, ema=0.9)
    recipe = replace(SMALL, groups=2, abstain=0.1, latent_noise=0.0, trainer=trainer)
    given = examples()
    fitted = fit_judge(recipe, given, tasks=2, seed=0, report=quiet)
    assert len(fitted.without) == 2 and all(len(each) == 2 for each in fitted.without)
    told = fitted.left_out
    assert (told["accuracy"] or 0) > 0.8 and (told["progress_of_successes"] or 0) > 0.8
    # Those that came furthest have the most progress, though no failure was labelled with any.
    failed = given.take(~given.success)
    rest = (torch.from_numpy(each) for each in (failed.imagined_pose, failed.task))
    read = fitted.members[0](torch.from_numpy(failed.imagined).float(), *rest).progress
    assert read is not None
    reached = failed.imagined[:, -1, 0, 0].mean((1, 2)).astype(float)
    shown = best_so_far(read.detach().numpy())[:, -1]
    assert np.corrcoef(reached, shown)[0, 1] > 0.7 and shown.max() < 0.97


def test_without_abstention_a_group_is_judged_by_one_network() -> None:
    trainer = TrainerRecipe(steps=2, batch=4)
    recipe = JudgeRecipe(channels=4, hidden=8, recurrent=4, groups=2, members=2, trainer=trainer)
    fitted = fit_judge(recipe, examples(), tasks=2, seed=0, report=quiet)
    assert [len(each) for each in fitted.without] == [1, 1] and fitted.abstain_above is None
    assert type(fitted.members[0]) is JudgeNet
    assert "progress_of_failures" not in fitted.left_out


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"network": "sequences"}, "must be one of frames, sequence"),
        ({"abstain": 0.5}, "a share from 0"),
        ({"abstain": 0.1, "members": 1}, "needs 2 members"),
        ({"network": "sequence", "hidden": 30}, "multiple of heads"),
    ],
)
def test_wrong_recipes_are_refused(changes: dict, text: str) -> None:
    with pytest.raises(UserError, match=text):
        load("judge", "judge", changes)


def test_the_shipped_recipe_is_the_sequence() -> None:
    config = load("judge-sequence", "judge").config
    assert (config.network, config.abstain, config.groups) == ("sequence", 0.02, 3)
