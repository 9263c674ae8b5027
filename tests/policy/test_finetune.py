from dataclasses import replace

import numpy as np
import pytest

from worldeval.data.table import RecordedEpisodes
from worldeval.errors import UserError
from worldeval.policy.batches import batches
from worldeval.policy.checkpoint import LearnedPolicy, load
from worldeval.policy.demos import Demos, gather
from worldeval.policy.finetune import BatchShare, finetune, keep, original_demos, together
from worldeval.policy.recipe import (
    AugmentRecipe,
    DemoGroup,
    Lineage,
    PolicyRecipe,
    PolicyTrainerRecipe,
)
from worldeval.policy.train import train

RECIPE = PolicyRecipe(
    head="flow",
    demos=(DemoGroup(sources=("expert*",), per_task=3),),
    validation_per_task=3,
    augment=AugmentRecipe(shift=0),
    trainer=PolicyTrainerRecipe(steps=5, batch=16, warmup=1),
)
GENTLE = PolicyTrainerRecipe(steps=40, batch=32, warmup=2, learning_rate=5e-3, ema=0.5)


@pytest.fixture(scope="module")
def policy(shards: RecordedEpisodes, tmp_path_factory) -> LearnedPolicy:
    (done,) = train(RECIPE, Lineage(name="a", seed=4), shards, tmp_path_factory.mktemp("a"))
    return load(done.folder)


@pytest.fixture(scope="module")
def few(shards: RecordedEpisodes) -> Demos:
    return gather(shards, [0, 1, 24], ("side", "top"), chunk=2, after_success=2)


def test_the_original_demonstrations_come_back(
    policy: LearnedPolicy, shards: RecordedEpisodes
) -> None:
    again = original_demos(policy, shards)
    assert again.episodes == dict(policy.card.demos) == {"pull-v3": 3, "push-v3": 3}
    torch_mean = policy.network.encoder.pose_mean.numpy()
    # The normalisers were fitted to exactly these samples; weights are stored in half precision.
    np.testing.assert_allclose(again.pose.mean(0), torch_mean, atol=1e-3)


def test_other_data_are_refused(policy: LearnedPolicy, shards: RecordedEpisodes) -> None:
    other = LearnedPolicy(
        policy.network, policy.recipe, policy.sizes, replace(policy.card, demos={"pull-v3": 9})
    )
    with pytest.raises(UserError, match=r"was trained on \{'pull-v3': 9\} episodes"):
        original_demos(other, shards)


def test_parts_have_their_share_of_the_batches(few: Demos) -> None:
    one = BatchShare(demos=few, share=0.25)
    two = BatchShare(demos=few, share=0.75, weight=np.arange(len(few), dtype=float))
    demos, weight = together([one, two, BatchShare(demos=few, share=0.0)])
    assert len(demos) == 2 * len(few)
    assert weight[: len(few)].sum() == pytest.approx(0.25)
    assert weight[len(few)] == 0
    assert demos.episodes == {"pull-v3": 4, "push-v3": 2}
    with pytest.raises(UserError, match="nothing to train on"):
        together([BatchShare(demos=few, share=0.0)])


def test_samples_without_weight_are_never_drawn(few: Demos, rng: np.random.Generator) -> None:
    weight = np.zeros(len(few))
    weight[3] = 1.0
    still = AugmentRecipe(shift=0, brightness=0, noise=0, blur=0)
    batch = next(batches(few, still, 8, rng, weight=weight))
    np.testing.assert_array_equal(batch.pose.numpy(), np.tile(few.pose[3], (8, 1)))


def test_fine_tuning_learns_and_leaves_the_original_alone(
    policy: LearnedPolicy, few: Demos, shards: RecordedEpisodes, tmp_path
) -> None:
    before = {name: value.clone() for name, value in policy.network.state_dict().items()}
    parts = [BatchShare(demos=few, share=1.0)]
    tuned = finetune(policy, parts, GENTLE, np.random.default_rng(0))
    again = finetune(policy, parts, GENTLE, np.random.default_rng(0))
    assert tuned.steps == 40
    assert tuned.loss == again.loss
    for name, value in policy.network.state_dict().items():
        assert (value == before[name]).all()
    for name in ("action_mean", "encoder.pose_scale"):
        assert (tuned.network.state_dict()[name] == before[name]).all()
    stored = keep(
        tmp_path / "b/step-7",
        policy,
        tuned.network,
        lineage="b",
        step=7,
        note="more",
        loss=tuned.loss,
        seconds=1.0,
        recorded=shards,
    )
    assert stored.spec.name == "b/step-7"
    assert stored.card.demos == policy.card.demos
    assert stored.card.validation_mse < policy.card.validation_mse
