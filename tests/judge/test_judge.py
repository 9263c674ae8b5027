"""A judge learns on the toy robot, is stored, and gives the same verdicts when loaded."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.imagined_run import imagined_run
from tests.support.toy import toy_recipe, toy_shards
from worldeval.data.table import read_table
from worldeval.errors import UserError
from worldeval.judge.calibrate import Calibration
from worldeval.judge.learn import families, learn_judge
from worldeval.judge.learned import LearnedJudge
from worldeval.judge.load import load_judge
from worldeval.judge.network import JudgeNet
from worldeval.judge.recipe import JudgeRecipe
from worldeval.record import Rollout
from worldeval.rollout.loop import replay
from worldeval.rollout.starts import recordings
from worldeval.runs.store import RolloutStore
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.load import load_world
from worldeval.world.training.pipeline import train_world
from worldeval.world.training.prepare import prepare

HORIZON = 8


def quiet(stage: str, steps: int):
    return lambda step, loss: None


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("judged")
    data = toy_shards(home / "data", episodes=24)
    weak = home / "weak"
    for number, name in enumerate(("weak-a", "weak-b", "weak-c", "weak-d")):
        part = toy_shards(home / name, episodes=14, seed=number + 1, source=f"{name}/step-1")
        weak.mkdir(exist_ok=True)
        for file in part.glob("*.h5"):
            file.rename(weak / f"{name}-{file.name}")
    recipe = toy_recipe()
    prepared = prepare(recipe, data, [weak], home / "world", seed=0, report=quiet)
    train_world(recipe, prepared, home / "world", kind="latent", seed=0, report=quiet)
    judged = JudgeRecipe(
        channels=8,
        hidden=32,
        recurrent=8,
        dropout=0.0,
        latent_noise=0.05,
        members=2,
        groups=2,
        horizon=HORIZON,
        trainer=TrainerRecipe(steps=300, batch=24, learning_rate=5e-3, ema=0.9),
    )
    learn_judge(
        judged, home / "world", data, [weak], home / "judge", seed=0, world_seed=0, report=quiet
    )
    return home


def test_it_tells_success_from_failure_it_never_saw(folder: Path) -> None:
    fresh = read_table(toy_shards(folder / "fresh", episodes=20, seed=99))
    world, judge = load_world(folder / "world"), load_judge(folder / "judge")
    recorded = recordings(fresh, np.arange(len(fresh)), HORIZON)
    verdicts = judge(replay(world, recorded))
    success = np.array([recording.success for recording in recorded])
    probability = np.array([verdict.probability for verdict in verdicts])
    assert 0 < success.mean() < 1
    assert probability[success].mean() > probability[~success].mean() + 0.3
    assert all(len(verdict.votes) == 2 and 1 <= verdict.step <= HORIZON for verdict in verdicts)


def test_an_unknown_task_is_refused(folder: Path) -> None:
    judge = load_judge(folder / "judge")
    fresh = read_table(folder / "data")
    rollouts = replay(load_world(folder / "world"), recordings(fresh, np.arange(2), HORIZON))
    with pytest.raises(UserError, match="was not trained on"):
        judge([replace(rollout, task="fly") for rollout in rollouts])


def test_a_rollout_of_its_start_alone_has_evidence_and_no_verdict() -> None:
    torch.manual_seed(0)
    recipe = JudgeRecipe(channels=2, hidden=4, recurrent=2, members=2)
    members = [JudgeNet(recipe, latent=(1, 2, 4, 4), pose_dim=4, tasks=1) for _ in range(2)]
    judge = LearnedJudge(members, Calibration(slope=1.0, offsets=(0.0,)), tasks=("open",))
    rng = np.random.default_rng(0)
    whole = Rollout(
        start="open-0",
        task="open",
        policy="p",
        seed=0,
        actions=rng.normal(size=(4, 4)).astype(np.float32),
        pose=rng.normal(size=(5, 4)).astype(np.float32),
        latents=rng.normal(size=(5, 1, 2, 4, 4)).astype(np.float32),
    )
    evidence = judge.over_time([whole])[0]
    np.testing.assert_array_equal(evidence, judge.judged([whole]).evidence[0])
    assert whole.latents is not None
    start = replace(
        whole, latents=whole.latents[:1], pose=whole.pose[:1], actions=whole.actions[:0]
    )
    np.testing.assert_allclose(judge.over_time([start])[0], evidence[:1], rtol=1e-5)
    with pytest.raises(UserError, match="has no frames after its start"):
        judge([start])


def test_families_are_the_training_runs() -> None:
    names = np.array(["weak-a/step-5>weak-b/step-9", "weak-b/step-9+perturbed"], dtype=object)
    assert families(names).tolist() == ["weak-a", "weak-b"]


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_judged(tmp_path: Path, odd: float) -> None:
    run = imagined_run(tmp_path, starts=1)
    judge = load_judge(tmp_path / "judge")
    rollout = next(iter(RolloutStore(run / "imagined").rollouts()))[0]
    assert len(judge([rollout])) == 1
    pose, latents = rollout.pose.copy(), np.asarray(rollout.latents).copy()
    pose[1, 0], latents[1, 0, 0, 0, 0] = odd, odd
    for broken in (replace(rollout, pose=pose), replace(rollout, latents=latents)):
        with pytest.raises(UserError, match="non-finite values, so it cannot be judged"):
            judge([broken])
    assert isinstance(judge, LearnedJudge)
    for part in judge._members[0].parameters():
        part.data.fill_(odd)
    with pytest.raises(UserError, match="The judge returned non-finite values"):
        judge([rollout])
