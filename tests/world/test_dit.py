"""The flow transformer: what a new one predicts, and that episodes of a batch never meet."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor

from worldeval.errors import UserError
from worldeval.recipe import load
from worldeval.world.context import Context
from worldeval.world.dit import DitDynamics
from worldeval.world.features import Features, Motion
from worldeval.world.recipe import DitRecipe

LATENT = (2, 3, 4, 4)  # v d h w
Record = TypeVar("Record", Context, Motion)
TINY = DitRecipe(width=24, depth=2, heads=2, patch=2, steps=2)


def test_a_new_network_predicts_no_change() -> None:
    context = a_context(3)
    found = a_network(trained=False).predict(context, generators=seeded(0, 1, 2))
    assert torch.equal(found, context.latent)


def test_a_change_is_in_units_of_its_training_deviation() -> None:
    network = a_network(trained=False)
    network.fit_change(5 * torch.randn(400, *LATENT))
    assert network.change_std.flatten().tolist() == pytest.approx([5.0] * 6, rel=0.1)
    with torch.no_grad():
        network.head.bias.fill_(1.0)
    context = a_context(2)
    change = network.predict(context, generators=None) - context.latent
    torch.testing.assert_close(change, network.change_std.expand_as(change))


def test_other_episodes_of_the_batch_change_nothing() -> None:
    network, context = a_network(), a_context(3)
    x, time = torch.randn(3, *LATENT), torch.tensor([0.0, 0.3, 0.9])
    before = network(x, time, context)
    x[1] += 1
    time[1] = 0.5
    after = network(x, time, with_row(context, 1, 2.0))
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.allclose(before[1], after[1])


def test_an_episode_is_imagined_alike_alone_and_in_a_batch() -> None:
    network, context = a_network(), a_context(3)
    together = network.predict(context, generators=seeded(4, 5, 6))
    alone = network.predict(row(context, 2), generators=seeded(6))
    torch.testing.assert_close(together[2:], alone)
    other_seed = network.predict(row(context, 2), generators=seeded(7))
    assert not torch.allclose(alone, other_seed)


@pytest.mark.parametrize(
    "name", ["latent", "previous", "first", "memory", "memory_pose", "next_pose"]
)
def test_every_part_of_the_context_is_read(name: str) -> None:
    network, context = a_network(), a_context(1)
    other = replace(context, **{name: getattr(context, name) + 1})
    x, time = torch.randn(1, *LATENT), torch.tensor([0.5])
    assert not torch.allclose(network(x, time, context), network(x, time, other))


@pytest.mark.parametrize("name", ["action", "past_actions", "pose", "command", "next_command"])
def test_every_part_of_the_motion_is_read(name: str) -> None:
    network, context = a_network(), a_context(1)
    motion = replace(context.motion, **{name: getattr(context.motion, name) + 1})
    x, time = torch.randn(1, *LATENT), torch.tensor([0.5])
    other = network(x, time, replace(context, motion=motion))
    assert not torch.allclose(network(x, time, context), other)


def test_cells_survive_the_way_to_tokens_and_back() -> None:
    network, latent = a_network(), torch.randn(2, *LATENT)
    assert torch.equal(network._cells(network._patches(latent)), latent)


def test_a_patch_that_does_not_fit_says_so() -> None:
    with pytest.raises(UserError, match="patch: 3 does not divide"):
        DitDynamics(replace(TINY, patch=3), some_features(), latent=LATENT)
    with pytest.raises(UserError, match="not a multiple of heads"):
        DitDynamics(replace(TINY, heads=5), some_features(), latent=LATENT)


@pytest.mark.parametrize(("name", "millions"), [("dit-tiny", (2, 4)), ("dit-small", (25, 35))])
def test_shipped_recipes_have_the_size_that_they_claim(
    name: str, millions: tuple[int, int]
) -> None:
    recipe = load(name, "model").config
    with torch.device("meta"):
        network = DitDynamics(recipe, some_features(), latent=(2, 16, 8, 8))
    count = sum(each.numel() for each in network.parameters()) / 1e6
    assert millions[0] < count < millions[1]


def a_network(*, trained: bool = True) -> DitDynamics:
    """A tiny network; `trained` ones have no zero weights left, so that everything speaks."""
    torch.manual_seed(0)
    network = DitDynamics(TINY, some_features(), latent=LATENT).eval()
    if trained:
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(0.1 * torch.randn(weight.shape))
    return network


def some_features() -> Features:
    return Features(pose_dim=4, action_dim=8, tasks=2)


def a_context(count: int) -> Context:
    torch.manual_seed(1)
    latents = torch.randn(4, count, *LATENT)
    poses, commands = torch.randn(5, count, 4), torch.randn(2, count, 3)
    return Context(
        latent=latents[0],
        previous=latents[1],
        first=latents[2],
        memory=latents[3],
        memory_pose=poses[0],
        motion=Motion(
            action=torch.randn(count, 8),
            past_actions=torch.randn(count, 2, 8),
            pose=poses[1],
            past_poses=poses[2:4].transpose(0, 1),
            command=commands[0],
            next_command=commands[1],
            task=torch.arange(count) % 2,
        ),
        next_pose=poses[4],
    )


def row(context: Context, index: int) -> Context:
    """One episode of a context, as a batch of one."""
    return mapped(context, lambda value: value[index : index + 1])


def with_row(context: Context, index: int, shift: float) -> Context:
    """A context whose episode `index` is moved by `shift` in everything but its task."""

    def moved(value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value
        value = value.clone()
        value[index] += shift
        return value

    return mapped(context, moved)


def mapped(record: Record, change: Callable[[Tensor], Tensor]) -> Record:
    """A record with `change` applied to every tensor in it."""
    values = {f.name: getattr(record, f.name) for f in fields(record)}
    changed: dict[str, Any] = {
        name: change(value) if isinstance(value, Tensor) else mapped(value, change)
        for name, value in values.items()
    }
    return replace(record, **changed)


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]
