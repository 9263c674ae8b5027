"""What the network may look at: nothing later, no other episode, and all that it is given."""

from dataclasses import replace

import pytest
import torch

from tests.support.dit import LATENT, SPEC, TINY, a_world, some_windows
from worldeval.errors import UserError
from worldeval.recipe import load
from worldeval.world.dit.family import new_network
from worldeval.world.dit.loss import sequence_of
from worldeval.world.dit.network import DitNetwork, Sequence
from worldeval.world.dit.recipe import DitRecipe
from worldeval.world.protocol import WorldSpec

LENGTH = 6
# DROID as Ctrl-World stores it: three views of 192 x 320 as SVD latents, absolute poses.
DROID = WorldSpec(
    views=("exterior_1", "exterior_2", "wrist"),
    size=(192, 320),
    latent=(4, 24, 40),
    action_dim=7,
    pose_dim=7,
    tasks=("any",),
    fps=5.0,
)
METAWORLD = replace(SPEC, size=(64, 64), latent=(16, 8, 8), action_dim=20, tasks=tuple("abcde"))


def test_a_new_network_predicts_no_change() -> None:
    network = new_network(SPEC, TINY)
    x = torch.randn(2, LENGTH, *LATENT)
    assert (network(x, torch.rand(2, LENGTH), a_sequence()) == 0).all()


def test_a_change_is_in_units_of_its_training_deviation() -> None:
    network = new_network(SPEC, TINY)
    network.fit_change(5 * torch.randn(400, *LATENT))
    assert network.change_std.flatten().tolist() == pytest.approx([5.0] * 6, rel=0.1)


@pytest.mark.parametrize("late", [1, 3, 5])
def test_a_later_frame_changes_nothing_before_it(late: int) -> None:
    sequence, x, time = a_sequence(), torch.randn(2, LENGTH, *LATENT), torch.rand(2, LENGTH)
    network = a_world().dynamics
    before = network(x, time, sequence)
    latents = sequence.latents.clone()
    latents[:, late] += 1
    x[:, late] += 1
    time[:, late] /= 2
    with torch.no_grad():
        after = network(x, time, sequence.seeing(latents))
    assert torch.equal(before[:, :late], after[:, :late])
    assert not torch.allclose(before[:, late], after[:, late])
    if late < LENGTH - 1:  # the next frame does see it
        assert not torch.allclose(before[:, late + 1], after[:, late + 1])


def test_another_episode_changes_nothing() -> None:
    sequence, x, time = a_sequence(), torch.randn(2, LENGTH, *LATENT), torch.rand(2, LENGTH)
    network = a_world().dynamics
    before = network(x, time, sequence)
    latents = sequence.latents.clone()
    latents[1] += 1
    x[1] += 1
    after = network(x, time, sequence.seeing(latents))
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])


def test_frames_beyond_the_window_are_reached_through_the_frames_between() -> None:
    """Two blocks of a window of 3 reach 6 frames; one block reaches 3."""
    recipe = replace(TINY, depth=1, memory=0, window=2)
    network, sequence = a_world(recipe).dynamics, a_sequence(memory=0)
    x, time = torch.randn(2, LENGTH, *LATENT), torch.rand(2, LENGTH)
    before = network(x, time, sequence)
    latents = sequence.latents.clone()
    latents[:, 1] += 1
    after = network(x, time, sequence.seeing(latents))
    # Frame 1 is seen by 2 and 3, and by what 2 was a change from: nothing later.
    changed = [not torch.allclose(before[:, t], after[:, t]) for t in range(LENGTH)]
    assert changed == [False, False, True, True, True, False]


def test_memory_is_read_where_it_is_there() -> None:
    network, sequence = a_world().dynamics, a_sequence()
    memory = sequence.memory
    assert memory is not None and memory.there is not None
    x, time = torch.randn(2, LENGTH, *LATENT), torch.rand(2, LENGTH)
    before = network(x, time, sequence)
    other = replace(sequence, memory=replace(memory, latents=memory.latents + 1))
    after = network(x, time, other)
    there = memory.there.any(1).view(2, LENGTH)
    assert there.any() and not there.all()
    for row in range(2):
        for frame in range(LENGTH):
            same = torch.equal(before[row, frame], after[row, frame])
            assert same != bool(there[row, frame])


@pytest.mark.parametrize("name", ["pose", "age"])
def test_memory_says_from_where_and_when_it_is(name: str) -> None:
    network, sequence = a_world().dynamics, a_sequence()
    memory = sequence.memory
    assert memory is not None and memory.there is not None
    x, time = torch.randn(2, LENGTH, *LATENT), torch.rand(2, LENGTH)
    other = replace(memory, **{name: getattr(memory, name) + 3})
    after = network(x, time, replace(sequence, memory=other))
    assert not torch.allclose(network(x, time, sequence), after)


@pytest.mark.parametrize(
    "name", ["action", "past_actions", "pose", "past_poses", "command", "next_command", "task"]
)
def test_every_part_of_the_motion_is_read(name: str) -> None:
    network, sequence = a_world().dynamics, a_sequence()
    motion = sequence.given.motion
    value = 1 - motion.task if name == "task" else getattr(motion, name) + 1
    given = replace(sequence.given, motion=replace(motion, **{name: value}))
    x, time = torch.randn(2, LENGTH, *LATENT), torch.rand(2, LENGTH)
    after = network(x, time, replace(sequence, given=given))
    assert not torch.allclose(network(x, time, sequence), after)


def test_cells_survive_the_way_to_tokens_and_back() -> None:
    network, latent = a_world().dynamics, torch.randn(2, *LATENT)
    assert torch.equal(network._cells(network._patches(latent)), latent)


def test_what_does_not_fit_says_so() -> None:
    with pytest.raises(UserError, match="patch: 3 does not divide"):
        new_network(SPEC, replace(TINY, patch=3))
    with pytest.raises(ValueError, match="not a multiple of heads"):
        DitRecipe(heads=5)
    with pytest.raises(ValueError, match="steps: 9"):
        DitRecipe(steps=9)


@pytest.mark.parametrize(
    ("name", "spec", "millions"),
    [
        ("dit-tiny", METAWORLD, 3.3),
        ("dit-small", METAWORLD, 31.2),
        ("dit-base", DROID, 295),
    ],
)
def test_shipped_recipes_build_at_the_size_that_they_claim(
    name: str, spec: WorldSpec, millions: float
) -> None:
    recipe = load(name, "model").config
    with torch.device("meta"):
        network = new_network(spec, replace(recipe, cameras={}))
    count = sum(each.numel() for each in network.parameters()) / 1e6
    assert count == pytest.approx(millions, rel=0.01)
    assert isinstance(network, DitNetwork)


def a_sequence(*, memory: int = 2) -> Sequence:
    """Two sequences: one begins its episode, the other begins late in it."""
    recipe = replace(TINY, memory=memory)
    return sequence_of(some_windows(9, 14), torch.tensor([0, 9 + 6]), LENGTH, recipe)
