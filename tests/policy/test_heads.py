"""What every head must do: train by its recipe, act in batches, by seed, and load as it was."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from worldeval import recipe as recipes
from worldeval.data.table import RecordedEpisodes
from worldeval.errors import UserError
from worldeval.files import read_json, write_json
from worldeval.policy.checkpoint import LearnedPolicy, load, read_card
from worldeval.policy.demos import gather
from worldeval.policy.load import load_policy
from worldeval.policy.network import PolicyNetwork
from worldeval.policy.protocol import Policy
from worldeval.policy.recipe import (
    AugmentRecipe,
    DemoGroup,
    Head,
    Lineage,
    NetworkRecipe,
    PolicyRecipe,
    PolicyTrainerRecipe,
)
from worldeval.policy.sizes import Sizes
from worldeval.policy.train import train
from worldeval.record import Observation

HEADS: tuple[Head, ...] = ("a2a", "carp", "ebt", "beso", "dita", "mamba", "act-jepa")
DRAWS = ("ebt", "beso", "dita")  # whose chunk depends on the seed
RECIPE = PolicyRecipe(
    views=("side", "top"),
    demos=(DemoGroup(sources=("expert*",)),),
    validation_per_task=3,
    augment=AugmentRecipe(shift=1),
    network=NetworkRecipe(widths=(8, 8, 8), squeeze=4, embed=16, hidden=32),
    trainer=PolicyTrainerRecipe(steps=40, save_at=(2, 40), batch=24, warmup=3, learning_rate=5e-3),
)


@pytest.fixture(scope="module", params=HEADS)
def trained(request: pytest.FixtureRequest, shards: RecordedEpisodes, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp(request.param)
    train(replace(RECIPE, head=request.param), Lineage(name="plain", seed=1), shards, out)
    return out / "plain"


def observed(shards: RecordedEpisodes, count: int, history: int) -> Observation:
    """Frames 3 of several episodes, after the frames before them."""
    moments = []
    for back in range(history - 1, -1, -1):
        rows = np.arange(count) * 24 + max(3 - back, 0)
        moments.append(
            Observation(
                frames={view: shards.frames(view, rows) for view in shards.views},
                pose=shards.pose[rows].astype(np.float32),
                tasks=tuple(shards.tasks[index] for index in shards.task_of_row[rows]),
            )
        )
    return replace(moments[-1], past=tuple(moments[:-1]))


def test_a_head_trains_and_acts_as_the_protocol_promises(
    trained: Path, shards: RecordedEpisodes
) -> None:
    early, late = (read_card(trained / f"step-{step}") for step in (2, 40))
    assert late.train_loss < early.train_loss
    policy = load_policy(str(trained / "step-40"))
    assert isinstance(policy, Policy) and isinstance(policy, LearnedPolicy)
    assert (policy.card.kind, policy.spec.step) == (policy.recipe.head, 40)
    observation = observed(shards, 4, policy.spec.history)
    policy.reset(observation.tasks, range(4))
    chunk = policy.act(observation)
    assert chunk.shape == (4, 2, 8) and chunk.dtype == np.float32
    assert np.abs(chunk).max() <= 1 and np.isfinite(chunk).all()


def test_an_episode_depends_on_its_own_seed_and_not_on_its_batch(
    trained: Path, shards: RecordedEpisodes
) -> None:
    policy = load(trained / "step-40")
    observation = observed(shards, 4, policy.spec.history)
    policy.reset(observation.tasks, range(4))
    together = [policy.act(observation) for _ in range(2)]

    def only(moment: Observation) -> Observation:
        frames = {view: images[2:3] for view, images in moment.frames.items()}
        return Observation(frames=frames, pose=moment.pose[2:3], tasks=moment.tasks[2:3])

    alone = observation.each(only)
    policy.reset(alone.tasks, [2])
    for chunk in together:
        np.testing.assert_allclose(policy.act(alone)[0], chunk[2], atol=2e-5)
    drawn = []
    for seed in (1, 2, 1):
        policy.reset(alone.tasks, [seed])
        drawn.append(policy.act(alone))
    np.testing.assert_array_equal(drawn[0], drawn[2])
    assert np.allclose(drawn[0], drawn[1]) == (policy.recipe.head not in DRAWS)


def test_settings_of_a_head_are_kept_and_checked(trained: Path, tmp_path: Path) -> None:
    folder = trained / "step-2"
    card = read_json(folder / "policy.json")
    assert card["recipe"]["head"] == load(folder).recipe.head
    card["recipe"]["network"]["hidden"] = 16
    for key in ("carp", "ebt", "dita", "mamba", "act_jepa"):
        card["recipe"][key]["width"] = 16
    card["recipe"]["network"]["embed"] = 24
    write_json(tmp_path / "policy.json", card)
    (tmp_path / "policy.safetensors").write_bytes((folder / "policy.safetensors").read_bytes())
    with pytest.raises(UserError, match="does not match its model card"):
        load(tmp_path)


@pytest.mark.parametrize("head", HEADS)
def test_the_shipped_recipe_of_a_head_is_small(head: str) -> None:
    config = recipes.load(f"policy-{head}", "policy").config
    assert config.head == head and config.chunk == 4
    sizes = Sizes(image=(64, 64), pose_dim=4, action_dim=20, tasks=("push-v3", "open drawer"))
    network = PolicyNetwork(replace(config, views=("side", "top")), sizes)
    assert sum(each.numel() for each in network.parameters() if each.requires_grad) < 220_000


def test_settings_of_another_head_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("kind: ebt\nebt: {most: 9}\n")
    assert recipes.load(str(path), "policy").config.ebt.most == 9
    path.write_text("kind: ebt\ncarp: {codes: 9}\n")
    with pytest.raises(UserError, match="'carp' would change nothing, because the head is ebt"):
        recipes.load(str(path), "policy")
    path.write_text("kind: beso\nbeso: {drop: 1.5}\n")
    with pytest.raises(UserError, match=r"beso.drop 1.5 must be below 1"):
        recipes.load(str(path), "policy")


def test_a_history_is_the_frames_before(shards: RecordedEpisodes) -> None:
    demos = gather(shards, [0, 1], ("side", "top"), chunk=2, after_success=1)
    first = np.flatnonzero(demos.before == 0)
    assert first.tolist() == [0, 10] and demos.after[first].tolist() == [9, 9]
    assert demos.moments(np.array([0, 2, 11]), 3).tolist() == [[0, 0, 0], [0, 1, 2], [10, 10, 11]]
    assert demos.ahead(np.array([0, 8, 19]), 2).tolist() == [[1, 2], [9, 9], [19, 19]]
    goals = demos.goals(np.repeat([3, 9, 12], 200), np.random.default_rng(0)).reshape(3, 200)
    assert goals[0].min() > 3 and goals[0].max() == 9
    assert (goals[1] == 9).all()  # nothing comes after the end
    assert 0.45 < (goals[2] == 19).mean() < 0.7


def test_a_policy_without_a_given_goal_takes_that_of_a_like_beginning(
    shards: RecordedEpisodes, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, head="beso", trainer=PolicyTrainerRecipe(steps=2, batch=8))
    (done,) = train(recipe, Lineage(name="goal", seed=1), shards, tmp_path)
    policy = load(done.folder)
    goals = policy.network.goals
    assert goals is not None
    # The ends of demonstrations of a task are its own: their columns do not move in this toy.
    found = goals.choose(goals.ends[1], torch.ones(4, dtype=torch.long))
    assert torch.equal(found, goals.ends[1])
    observation = observed(shards, 2, 1)
    policy.reset(observation.tasks, [0, 1])
    images, _, _ = policy.see(observation)
    assert images.shape[1] == 4  # two views now, two of the goal
    policy.reset(observation.tasks, [0, 1])
    policy.aim(observation.frames)
    aimed, _, _ = policy.see(observation)
    assert torch.equal(aimed[:, 2:], aimed[:, :2])
