from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from worldeval.data.adapt import AdaptedSource
from worldeval.data.source import Rows
from worldeval.data.table import RecordedEpisodes
from worldeval.errors import UserError
from worldeval.policy.checkpoint import LearnedPolicy, load, read_card
from worldeval.policy.demos import gather
from worldeval.policy.network import PolicyNetwork
from worldeval.policy.recipe import (
    AugmentRecipe,
    DemoGroup,
    Head,
    LabelRecipe,
    Lineage,
    PolicyRecipe,
    PolicySetRecipe,
    PolicyTrainerRecipe,
    WarmRecipe,
)
from worldeval.policy.sets import train_set
from worldeval.policy.sizes import Sizes
from worldeval.policy.train import train
from worldeval.policy.validation import action_error, validation_demos
from worldeval.record import Observation

RECIPE = PolicyRecipe(
    views=("side", "top"),
    demos=(DemoGroup(sources=("expert*",)),),
    validation_per_task=3,
    augment=AugmentRecipe(shift=0),
    trainer=PolicyTrainerRecipe(steps=60, save_at=(3, 60), batch=32, warmup=3, learning_rate=3e-3),
)
LINEAGE = Lineage(name="plain", seed=1)


@pytest.fixture(scope="module", params=["bc", "flow", "diffusion"])
def trained(request: pytest.FixtureRequest, shards: RecordedEpisodes, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp(request.param)
    recipe = replace(RECIPE, head=request.param)
    if request.param == "diffusion":
        recipe = replace(recipe, trainer=replace(RECIPE.trainer, ema=0.9))
    list(train(recipe, LINEAGE, shards, out))
    return out


def test_training_lowers_the_validation_error(trained: Path) -> None:
    early, late = (read_card(trained / "plain" / f"step-{step}") for step in (3, 60))
    assert late.validation_mse < 0.6 * early.validation_mse
    assert late.train_loss < early.train_loss
    assert set(late.validation_mse_tasks) == {"pull-v3", "push-v3"}
    assert late.validation_mse == pytest.approx(np.mean(list(late.validation_mse_tasks.values())))
    assert late.demos == {"pull-v3": 17, "push-v3": 17}


def test_a_checkpoint_acts_as_the_protocol_promises(
    trained: Path, shards: RecordedEpisodes
) -> None:
    policy = load(trained / "plain" / "step-60")
    assert policy.spec.name == "plain/step-60"
    assert (policy.spec.step, policy.spec.action_dim, policy.spec.chunk) == (60, 8, 2)
    observation = _observation(shards, 6)
    policy.reset(observation.tasks, range(6))
    chunk = policy.act(observation)
    assert chunk.shape == (6, 2, 8)
    assert chunk.dtype == np.float32
    assert np.abs(chunk).max() <= 1


def test_actions_in_units_of_their_own_keep_their_range(
    shards: RecordedEpisodes, tmp_path: Path
) -> None:
    """Targets in pixels, imitated from pictures of another size than those shown later."""

    class InPixels(AdaptedSource):
        def rows(self, index: int) -> Rows:
            rows = self.source.rows(index)
            return replace(rows, actions=256 + 200 * rows.actions)

    pixels = RecordedEpisodes([InPixels(source) for source in shards.sources])
    (kept,) = train(
        replace(RECIPE, views=(), size=(16, 16), trainer=replace(RECIPE.trainer, save_at=())),
        LINEAGE, pixels, tmp_path,
    )  # fmt: skip
    policy = load(kept.folder)
    assert policy.sizes.action_low[0] >= 0 and policy.sizes.image == (16, 16)
    assert policy.spec.views == shards.views
    observation = _observation(shards, 6)
    policy.reset(observation.tasks, range(6))
    assert 50 < policy.act(observation).mean() < 460


def test_actions_depend_on_an_episodes_own_seed_only(
    trained: Path, shards: RecordedEpisodes
) -> None:
    policy = load(trained / "plain" / "step-60")
    observation = _observation(shards, 6)
    policy.reset(observation.tasks, range(6))
    together = [policy.act(observation) for _ in range(2)]
    alone = Observation(
        frames={view: frames[4:5] for view, frames in observation.frames.items()},
        pose=observation.pose[4:5],
        tasks=observation.tasks[4:5],
    )
    policy.reset(alone.tasks, [4])
    for chunk in together:
        np.testing.assert_allclose(policy.act(alone)[0], chunk[4], atol=1e-5)


@pytest.mark.parametrize("head", ["flow", "diffusion"])
def test_a_generative_policy_draws_anew_for_every_seed(
    head: Head, shards: RecordedEpisodes, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, head=head, trainer=PolicyTrainerRecipe(steps=2))
    folder = next(iter(train(recipe, LINEAGE, shards, tmp_path))).folder
    policy, observation = load(folder), _observation(shards, 1)
    drawn = []
    for seed in (1, 2, 1):
        policy.reset(observation.tasks, [seed])
        drawn.append(policy.act(observation))
    assert not np.allclose(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize("head", ["flow", "diffusion"])
def test_a_warm_start_stays_near_the_last_chunk(
    head: Head, shards: RecordedEpisodes, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, head=head, chunk=3, trainer=PolicyTrainerRecipe(steps=30, warmup=3))
    (done,) = train(recipe, LINEAGE, shards, tmp_path)
    cold, observation = load(done.folder), _observation(shards, 6)
    warmed = replace(recipe, warm=WarmRecipe(skip=0.8, executed=1))
    warm = LearnedPolicy(cold.network, warmed, cold.sizes, cold.card)
    moved = {}
    for name, policy in (("cold", cold), ("warm", warm)):
        policy.reset(observation.tasks, range(6))
        first, second = policy.act(observation), policy.act(observation)
        moved[name] = np.abs(second[:, :2] - first[:, 1:]).mean()
    assert moved["warm"] < 0.8 * moved["cold"]
    # A new episode knows no last chunk.
    warm.reset(observation.tasks, range(6))
    cold.reset(observation.tasks, range(6))
    np.testing.assert_array_equal(warm.act(observation), cold.act(observation))


def test_the_average_of_weights_is_what_is_kept(shards: RecordedEpisodes, tmp_path: Path) -> None:
    """With a decay of nearly one, ten steps average over all of the way: it lags behind."""
    kept = []
    for name, ema in (("last", 0.0), ("average", 0.999)):
        trainer = PolicyTrainerRecipe(steps=10, batch=16, warmup=1, learning_rate=1e-2, ema=ema)
        (done,) = train(replace(RECIPE, trainer=trainer), LINEAGE, shards, tmp_path / name)
        kept.append(load(done.folder).network.state_dict())
    assert not torch.equal(kept[0]["head.layers.0.weight"], kept[1]["head.layers.0.weight"])
    for name in ("action_mean", "action_scale", "encoder.pose_mean"):
        assert torch.equal(kept[0][name], kept[1][name])


def test_the_same_seed_trains_the_same_policy(shards: RecordedEpisodes, tmp_path: Path) -> None:
    recipe = replace(RECIPE, trainer=PolicyTrainerRecipe(steps=3, batch=8))
    losses = [
        next(iter(train(recipe, Lineage(name=name, seed=seed), shards, tmp_path))).card.train_loss
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_biased_labels_cost_the_error_they_should(shards: RecordedEpisodes, tmp_path: Path) -> None:
    biased = replace(RECIPE, labels=LabelRecipe(bias=(0.4, 0.0, 0.0, 0.0)))
    *_, last = train(biased, LINEAGE, shards, tmp_path)
    demos = validation_demos(shards, 3)
    policy = load(last.folder)
    names = tuple(demos.tasks[index] for index in demos.task)
    policy.reset(names, range(len(names)))
    frames = {view: demos.frames[:, index] for index, view in enumerate(demos.views)}
    acted = policy.act(Observation(frames=frames, pose=demos.pose, tasks=names))
    push = (acted[:, 0] - demos.actions[:, 0]).mean(0)
    assert push[0] > push[1:4].max() + 0.15  # where it can: actions end at 1
    np.testing.assert_allclose(push[4:], [0.4, 0, 0, 0], atol=0.15)
    assert action_error(policy, demos).mean == pytest.approx(last.card.validation_mse, rel=0.02)


def test_a_perfect_policy_has_no_validation_error(shards: RecordedEpisodes) -> None:
    from worldeval.policy.builtin import Replay

    demos = validation_demos(shards, 3)
    perfect = action_error(Replay([sample for sample in demos.actions]), demos)
    assert perfect.mean == 0
    assert perfect.tasks == {"pull-v3": 0, "push-v3": 0}


def test_a_blind_policy_ignores_its_images(shards: RecordedEpisodes) -> None:
    sizes = Sizes(image=(32, 32), pose_dim=4, action_dim=8, tasks=shards.tasks)
    demos = gather(shards, [0, 1], ("side", "top"), chunk=1, after_success=2)
    pose, task = torch.from_numpy(demos.pose), torch.from_numpy(demos.task)
    images = torch.rand(len(demos), 2, 3, 32, 32)
    for blind in (True, False):
        network = PolicyNetwork(replace(RECIPE, blind=blind), sizes)
        same = torch.equal(
            network.act(images, pose, task, []), network.act(-images, pose, task, [])
        )
        assert same == blind


@pytest.mark.parametrize("head", ["bc", "flow", "diffusion"])
def test_networks_are_small_enough_to_ship(head: Head) -> None:
    sizes = Sizes(image=(64, 64), pose_dim=4, action_dim=20, tasks=("a", "b", "c", "d", "e"))
    network = PolicyNetwork(replace(RECIPE, head=head, chunk=3), sizes)
    assert sum(weight.numel() for weight in network.parameters()) < 110_000


def test_a_finished_set_is_not_trained_again(folder: Path, tmp_path: Path) -> None:
    recipe = PolicySetRecipe(
        policy=replace(RECIPE, trainer=PolicyTrainerRecipe(steps=2, save_at=(1, 2), batch=4)),
        lineages=(
            Lineage(name="a", seed=1),
            Lineage(name="b", seed=2, change={"views": ["top"], "trainer": {"save_at": [2]}}),
        ),
    )
    first = [kept for done in train_set(recipe, [folder], tmp_path) for kept in done]
    assert [kept.folder.relative_to(tmp_path).as_posix() for kept in first] == [
        "a/step-1",
        "a/step-2",
        "b/step-2",
    ]
    written = {kept.folder: (kept.folder / "policy.json").stat().st_mtime_ns for kept in first}
    (first[2].folder / "policy.json").unlink()
    again = [kept for done in train_set(recipe, [folder], tmp_path) for kept in done]
    assert [kept.card.validation_mse for kept in again] == [
        kept.card.validation_mse for kept in first
    ]
    for kept in again[:2]:
        assert (kept.folder / "policy.json").stat().st_mtime_ns == written[kept.folder]


def test_a_task_it_never_saw_is_refused(trained: Path) -> None:
    policy = load(trained / "plain" / "step-3")
    with pytest.raises(UserError, match="Did you mean 'pull-v3'"):
        policy.reset(["pul-v3"], [0])


def test_a_view_that_the_data_lacks_is_refused(shards: RecordedEpisodes, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"View 'wrist' .* side, top"):
        list(train(replace(RECIPE, views=("wrist",)), LINEAGE, shards, tmp_path))


def _observation(shards: RecordedEpisodes, count: int) -> Observation:
    rows = np.arange(count) * 24
    return Observation(
        frames={view: shards.frames(view, rows) for view in shards.views},
        pose=shards.pose[rows],
        tasks=tuple(shards.tasks[index] for index in shards.task_of_row[rows]),
    )
