"""Search in a world where only one way leads anywhere."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.improve.conftest import DotJudge, DotWorld, start
from worldeval.improve.place import Simulation, probabilities
from worldeval.improve.recipe import SearchRecipe
from worldeval.improve.search import Searched
from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation

RECIPE = SearchRecipe(candidates=6, lookahead=4, noise=0.6, replan_every=2)


@dataclass
class Idle:
    """Does nothing by itself, so that whatever moves came of the search."""

    asked: list[int] = field(default_factory=list)

    @property
    def spec(self) -> PolicySpec:
        return PolicySpec(
            name="idle/step-1", lineage="idle", step=1, views=("side",), action_dim=8, chunk=2
        )

    def reset(self, tasks, seeds) -> None:
        assert len(tasks) == len(seeds)

    def act(self, observation: Observation) -> np.ndarray:
        self.asked.append(len(observation))
        return np.zeros((len(observation), 2, 8), np.float32)


def episodes(policy, count: int = 4) -> list:
    place = Simulation(world=DotWorld(), judge=DotJudge(), horizon=8, replan_every=2)
    starts = [start(task, n) for task in ("left", "right") for n in range(count)]
    return place.compared(policy, starts, seed=0)


@pytest.mark.parametrize("method", ["best", "cem"])
def test_a_searching_policy_goes_where_the_judge_says(method: str) -> None:
    recipe = SearchRecipe(**{**RECIPE.__dict__, "method": method, "iterations": 2})
    bare = probabilities(episodes(Idle()))
    searching = Searched(Idle(), DotWorld(), DotJudge(), recipe)
    found = probabilities(episodes(searching))
    assert (found > bare).all()
    assert found.mean() > bare.mean() + 0.2
    assert searching.changed > 0.5


def test_one_candidate_is_the_bare_policy() -> None:
    alone = Searched(Idle(), DotWorld(), DotJudge(), SearchRecipe(candidates=1, lookahead=4))
    bare, found = episodes(Idle()), episodes(alone)
    for one, two in zip(bare, found, strict=True):
        np.testing.assert_array_equal(one.rollout.actions, two.rollout.actions)
    assert alone.changed == 0


def test_every_candidate_is_imagined_at_every_replan() -> None:
    policy, world = Idle(), DotWorld()
    searching = Searched(policy, world, DotJudge(), RECIPE)
    searching.reset(("left", "right"), (0, 1))
    one = start("left", 0)
    frames = {view: np.stack([frame] * 2) for view, frame in one.frames.items()}
    seen = Observation(frames=frames, pose=np.stack([one.pose] * 2), tasks=("left", "right"))
    chunk = searching.act(seen)
    assert chunk.shape == (2, 2, 8)
    assert world.begun == 2  # the candidates branch off
    assert policy.asked == [12, 12]  # twice in four frames, six candidates of two episodes


def test_a_choice_depends_on_its_own_seed_alone() -> None:
    searching = Searched(Idle(), DotWorld(), DotJudge(), RECIPE)
    together = episodes(searching, 2)
    alone = Simulation(world=DotWorld(), judge=DotJudge(), horizon=8, replan_every=2).compared(
        searching, [start("right", 1)], seed=0
    )
    np.testing.assert_allclose(together[3].rollout.actions, alone[0].rollout.actions, atol=1e-6)


def test_a_margin_keeps_the_policys_own_plan() -> None:
    wary = SearchRecipe(**{**RECIPE.__dict__, "margin": 1.0})
    searching = Searched(Idle(), DotWorld(), DotJudge(), wary)
    for attempt in episodes(searching, 1):
        assert np.abs(attempt.rollout.actions).max() == 0


def test_it_is_named_after_what_it_does() -> None:
    searching = Searched(Idle(), DotWorld(), DotJudge(), RECIPE)
    assert searching.spec.name == "idle/step-1+best-of-6"
    assert searching.spec.chunk == 2


def test_what_was_likely_once_does_not_silence_the_search() -> None:
    """The dot stood where success is called and was pushed away: candidates still differ."""
    searching = Searched(Idle(), DotWorld(), DotJudge(far=0.1), RECIPE)
    searching.reset(("right",), (0,))
    for x in (0.4, -0.05):
        one = start("right", 0, x=x)
        frames = {view: frame[None] for view, frame in one.frames.items()}
        seen = Observation(frames=frames, pose=one.pose[None], tasks=("right",))
        searching.act(seen)
    assert searching.changed == 0.5  # at first all are as good as the policy's own plan


def test_it_looks_no_further_than_the_episode_goes() -> None:
    """Horizon 6, look-ahead 4, replanned every 2 frames: 4, 4 and then 2 frames are imagined."""
    policy = Idle()
    recipe = SearchRecipe(**{**RECIPE.__dict__, "horizon": 6})
    searching, one = Searched(policy, DotWorld(), DotJudge(), recipe), start("left", 0)
    searching.reset(("left",), (0,))
    frames = {view: frame[None] for view, frame in one.frames.items()}
    seen = Observation(frames=frames, pose=one.pose[None], tasks=("left",))
    asked = []
    for _ in range(3):
        searching.act(seen)
        asked.append(len(policy.asked) - sum(asked))
    assert asked == [2, 2, 1]


def test_the_world_keeps_what_a_new_beginning_would_forget() -> None:
    """A world that counts its frames is told what is seen and goes on counting."""

    @dataclass
    class Counting(DotWorld):
        frames: tuple[float, ...] = ()

        def __init__(self) -> None:
            super().__init__()
            self.frames = ()

        def begin(self, frames, pose, tasks, seeds):
            return np.append(super().begin(frames, pose, tasks, seeds), np.zeros((len(pose), 1)), 1)

        def step(self, state, actions):
            moved = np.append(super().step(state[:, :4], actions), state[:, 4:] + 1, 1)
            self.frames += (float(moved[0, 4]),)
            return moved

        def observe(self, state, frames, pose, tasks):
            return np.append(pose, state[:, 4:], 1).astype(np.float32)

        def latents(self, state):
            return super().latents(state[:, :4])

        def pose(self, state):
            return state[:, :4].astype(np.float32)

    world = Counting()
    searching, one = Searched(Idle(), world, DotJudge(), RECIPE), start("left", 0)
    searching.reset(("left",), (0,))
    frames = {view: frame[None] for view, frame in one.frames.items()}
    seen = Observation(frames=frames, pose=one.pose[None], tasks=("left",))
    searching.act(seen)
    first, world.frames = world.frames, ()
    searching.act(seen)
    assert first == (1, 2, 3, 4, 1, 2)  # four frames ahead, then the two that are carried out
    assert world.frames == (3, 4, 5, 6, 3, 4)


def test_a_world_that_cannot_be_told_begins_anew() -> None:
    class Plain(DotWorld):
        branch = None  # type: ignore[assignment]

    bare = probabilities(episodes(Idle()))
    found = probabilities(episodes(Searched(Idle(), Plain(), DotJudge(), RECIPE)))
    assert found.mean() > bare.mean() + 0.2
