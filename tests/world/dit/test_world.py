"""Rolling out with a cache: it changes nothing but the time it takes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.dit import LATENT, TINY, a_world
from worldeval.world.dit.cache import SPARE
from worldeval.world.dit.network import Given, MemoryFrames, Sequence
from worldeval.world.dit.recipe import DitRecipe
from worldeval.world.dit.world import DitState, DitWorld, standing
from worldeval.world.features import Motion

ROTARY = replace(TINY, age="rotary")
STEPS, TASKS, SEEDS = 9, ["left", "right", "left"], [4, 5, 6]


@pytest.mark.parametrize("recipe", [TINY, ROTARY, replace(ROTARY, window=9, memory=1)])
def test_the_cached_roll_out_equals_the_uncached_one(recipe: DitRecipe) -> None:
    """Longer than the cache's buffer, so that the window moves; memory comes and is replaced."""
    world = a_world(recipe)
    cached, log = roll(world, steps=2 * SPARE + 3)
    for frame in range(1, cached.video.count):
        again = uncached(world, cached, log, frame)
        torch.testing.assert_close(again, cached.latents[:, frame], atol=1e-5, rtol=1e-5)


def test_a_cached_key_is_never_written_again() -> None:
    world = a_world(ROTARY)
    state = start(world)
    first = state.cache.slots(0, 1)
    kept, where = first.clone(), first.data_ptr()
    for _ in range(SPARE):
        state = world.step(state, np.ones((3, 8), np.float32))
        if state.cache.begin == 0 and state.cache.frames > 1:
            assert state.cache.slots(0, 1).data_ptr() != where or torch.equal(first, kept)
    assert torch.equal(first, kept)


def test_an_episode_is_imagined_alike_alone_and_in_a_batch() -> None:
    world = a_world()
    together, _ = roll(world)
    alone, _ = roll(world, only=2)
    torch.testing.assert_close(alone.latents[0], together.latents[2], atol=1e-4, rtol=1e-4)
    other, _ = roll(world, only=2, seeds=[4, 5, 7])
    assert not torch.allclose(alone.latents[0, 1], other.latents[0, 1])


def test_memory_holds_no_frame_of_the_context_and_the_nearest_of_the_rest() -> None:
    world = a_world()
    state, _ = roll(world)
    frames, window = state.latents.shape[1], TINY.window
    target = state.poses[:, 2] + 1e-4
    memory = world.memory(state, target)
    assert memory is not None
    assert (memory.age > window).all()
    assert (frames - memory.age[:, 0] == 2).all()
    torch.testing.assert_close(memory.latents[:, 0], state.latents[:, 2])
    away = (state.poses[:, : frames - window] - target[:, None]).square().sum(2)
    second = away.argsort(1)[:, 1]
    assert (frames - memory.age[:, 1] == second).all()


def test_memory_begins_when_the_first_frame_has_left_the_context() -> None:
    world = a_world()
    state = start(world)
    for frame in range(TINY.window + 1):
        memory = world.memory(state, state.poses[:, -1])
        assert (memory is None) == (frame < TINY.window)
        state = world.step(state, np.zeros((3, 8), np.float32))


def test_without_retrieval_no_frame_is_looked_up() -> None:
    world = a_world()
    with_memory, _ = roll(world)
    world.retrieve = False
    without, _ = roll(world)
    early = 1 + TINY.window
    torch.testing.assert_close(with_memory.latents[:, :early], without.latents[:, :early])
    assert not torch.allclose(with_memory.latents[:, -1], without.latents[:, -1])


@pytest.mark.parametrize("recipe", [TINY, ROTARY])
def test_a_moment_goes_on_in_several_ways(recipe: DitRecipe) -> None:
    """Every continuation is what it is alone, whatever another one did in between."""
    world = a_world(recipe)

    def draws() -> None:
        for each in state.generators:
            each.manual_seed(7)

    one, two = np.ones((3, 8), np.float32), -np.ones((3, 8), np.float32)
    state, _ = roll(world, steps=5)
    draws()
    first = world.step(state, one)
    expected = first.latents.clone()
    draws()
    second = world.step(state, two)
    world.step(second, two)
    world.step(first, two)
    assert torch.equal(first.latents, expected)
    assert not torch.equal(second.latents[:, -1], expected[:, -1])
    draws()
    again = world.step(state, one)
    torch.testing.assert_close(again.latents, expected)
    draws()
    later, branch = world.step(first, one), world.branch(first, np.array([2, 0]))
    branched = world.step(branch, one[:2])
    assert later.latents.shape[1] == branched.latents.shape[1]
    assert torch.equal(first.latents, expected)


@pytest.mark.parametrize("recipe", [TINY, ROTARY])
def test_a_state_is_never_changed(recipe: DitRecipe) -> None:
    world = a_world(recipe)
    state = start(world)
    kept = state.cache.slots(state.cache.begin, state.cache.end)
    before = [state.latents.clone(), state.poses.clone(), kept.clone()]
    world.step(state, np.ones((3, 8), np.float32))
    for each, then in zip((state.latents, state.poses, kept), before, strict=True):
        assert torch.equal(each, then)


def start(world: DitWorld, *, only: int | None = None, seeds: list[int] = SEEDS) -> DitState:
    torch.manual_seed(1)
    latents = torch.randn(3, *LATENT)
    pose = torch.randn(3, 4).numpy()
    rows = slice(None) if only is None else slice(only, only + 1)
    return world.begin_latents(latents[rows], pose[rows], TASKS[rows], seeds[rows])


def roll(
    world: DitWorld, *, only: int | None = None, seeds: list[int] = SEEDS, steps: int = STEPS
) -> tuple[DitState, list[tuple[Motion, torch.Tensor, MemoryFrames | None, torch.Tensor]]]:
    """A roll-out, and for every frame its motion, next pose, memory and noise."""
    rng = np.random.default_rng(2)
    state, log = start(world, only=only, seeds=seeds), []
    for _ in range(steps):
        actions = rng.uniform(-1, 1, (3, 8)).astype(np.float32)
        actions = actions if only is None else actions[only : only + 1]
        moved = world.hand.step(
            state.hand,
            torch.from_numpy(actions),
            newest=state.latents[:, -1],
            first=state.latents[:, 0],
        )
        twins = [torch.Generator() for _ in state.generators]
        for twin, own in zip(twins, state.generators, strict=True):
            twin.set_state(own.get_state())
        noise = torch.stack([torch.randn(LATENT, generator=twin) for twin in twins])
        log.append((moved.motion, moved.pose, world.memory(state, moved.pose), noise))
        state = world.step(state, actions)
    return state, log


@torch.inference_mode()
def uncached(world: DitWorld, state: DitState, log: list, frame: int) -> torch.Tensor:
    """Frame `frame` computed anew from the whole history, as training computes it."""
    from worldeval.world.flow import sample

    network, count = world.dynamics, frame + 1
    hand = world.hand.begin(state.poses[:, 0], state.hand.task)
    motions = [standing(hand), *(entry[0] for entry in log[:frame])]
    poses = [state.poses[:, 0], *(entry[1] for entry in log[:frame])]
    motion = Motion(
        **{
            name: torch.stack([getattr(each, name) for each in motions], 1).flatten(0, 1)
            for name in Motion.__dataclass_fields__
        }
    )
    history = state.latents[:, :count].clone()
    history[:, frame] = torch.nan  # what is to be computed must not be looked at
    sequence = Sequence(
        latents=history,
        before=history[:, 0],
        given=Given(
            previous=history.flatten(0, 1),  # replaced by `seeing`
            first=history[:, 0].repeat_interleave(count, 0),
            motion=motion,
            next_pose=torch.stack(poses, 1).flatten(0, 1),
        ),
        memory=spread(log[frame - 1][2], frame=frame, count=count),
    ).seeing(history)
    noise = log[frame - 1][3]

    def denoise(x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        every = torch.zeros(len(x), count, *LATENT)
        every[:, frame] = x
        times = torch.zeros(len(x), count)
        times[:, frame] = time
        return network(every, times, sequence)[:, frame]

    change = sample(denoise, noise, steps=world.steps)
    return history[:, frame - 1] + change * network.change_std


def spread(memory: MemoryFrames | None, *, frame: int, count: int) -> MemoryFrames | None:
    """The memory of one frame as that of a sequence whose other frames have none."""
    if memory is None:
        return None
    memory = replace(memory, there=torch.ones_like(memory.age, dtype=torch.bool))

    def wide(values: torch.Tensor) -> torch.Tensor:
        out = values.new_zeros(len(values), count, *values.shape[1:])
        out[:, frame] = values
        return out.flatten(0, 1)

    return MemoryFrames(
        **{name: wide(getattr(memory, name)) for name in MemoryFrames.__dataclass_fields__}
    )
