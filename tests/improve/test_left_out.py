"""Judges that are left out of an optimisation, and the watch that compares them."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.device.test_policies import a_judge, a_policy, starts
from tests.device.test_worlds import a_world
from tests.improve.conftest import DotJudge, DotWorld, start
from worldeval.errors import UserError
from worldeval.improve.doubt import Doubt
from worldeval.improve.left_out import Guarded, Pessimistic, guarded
from worldeval.improve.place import Simulation
from worldeval.improve.watch import Watch
from worldeval.policy.checkpoint import LearnedPolicy
from worldeval.rollout.loop import imagine


@dataclass(frozen=True)
class Shifted(DotJudge):
    """The ruler with a constant error."""

    by: float = 0.0

    def over_time(self, rollouts):
        return super().over_time(rollouts) + self.by


class Three:
    """An ensemble of three rulers that differ."""

    def parts(self):
        return [Shifted(by=-0.02), Shifted(by=0.0), Shifted(by=-0.01)]

    def over_time(self, rollouts):
        return np.mean([part.over_time(rollouts) for part in self.parts()], 0)

    def __call__(self, rollouts):
        raise AssertionError("its parts judge")


def test_the_last_member_is_left_out_and_the_others_are_optimised(place: Simulation) -> None:
    found = guarded(replace(place, judge=Three()), leave_out=True, pessimism=1.0)
    assert isinstance(found.place.judge, Pessimistic)
    assert found.place.judge.judges == (Shifted(by=-0.02), Shifted(by=0.0))
    assert found.left_out == Shifted(by=-0.01)


def test_nothing_changes_where_nothing_is_asked(place: Simulation) -> None:
    ensemble = replace(place, judge=Three())
    assert guarded(ensemble, leave_out=False, pessimism=0.0) == Guarded(place=ensemble)
    second = DotJudge(far=0.5)
    found = guarded(place, leave_out=True, pessimism=0.0, second=second)
    assert found == Guarded(place=place, left_out=second)


def test_a_judge_without_members_cannot_be_parted(place: Simulation) -> None:
    with pytest.raises(UserError, match="no second member"):
        guarded(place, leave_out=True, pessimism=0.0)


def test_disagreement_lowers_the_verdict(place: Simulation, undecided: LearnedPolicy) -> None:
    attempts = place.compared(undecided, [start("left", n) for n in range(3)], seed=0)
    rollouts = [attempt.rollout for attempt in attempts]
    pair = [Shifted(by=-0.01), Shifted(by=0.01)]  # mean 0, standard deviation .01
    plain = DotJudge().over_time(rollouts)
    found = Pessimistic(pair, 2.0)
    np.testing.assert_allclose(found.over_time(rollouts), np.maximum(plain - 0.02, 0), atol=1e-6)
    for verdict, own in zip(found(rollouts), DotJudge()(rollouts), strict=True):
        assert verdict.probability == pytest.approx(max(own.probability - 0.02, 0))
        assert verdict.votes == pytest.approx([own.probability - 0.01, own.probability + 0.01])
        assert verdict.step == own.step


def test_the_members_of_a_learned_judge_are_its_votes() -> None:
    judge = a_judge()
    rollouts = imagine(
        a_world("latent"), a_policy("bc"), starts(), horizon=2, replan_every=2, seeds=[0, 1]
    )
    votes = np.array([verdict.votes for verdict in judge(rollouts)])
    alone = [[verdict.probability for verdict in part(rollouts)] for part in judge.parts()]
    np.testing.assert_allclose(np.transpose(alone), votes, rtol=1e-5)


def watch(place: Simulation, left_out: DotJudge, again: DotWorld | None = None) -> Watch:
    return Watch(
        place=place,
        starts=tuple(start("left", n) for n in range(6)),
        doubt=Doubt(place=place, second=again or DotWorld()),
        left_out=left_out,
        disagreement=0.1,
        seed=0,
    )


class Pushing:
    """Always moves by the same action; more of it goes further left."""

    def __init__(self, policy: LearnedPolicy, size: float) -> None:
        self.spec, self.size = policy.spec, size

    def reset(self, tasks, seeds) -> None: ...

    def act(self, observation):
        chunk = np.zeros((len(observation), self.spec.chunk, self.spec.action_dim), np.float32)
        chunk[..., 0::4] = -self.size
        return chunk


def test_a_gain_that_only_the_optimised_judge_sees_ends_it(
    place: Simulation, undecided: LearnedPolicy
) -> None:
    """The optimised judge is content at .15, the other asks for .9: a short push gains nothing."""
    seen = watch(replace(place, judge=DotJudge(far=0.15)), DotJudge(far=0.9))
    assert not seen.look(Pushing(undecided, 0.0), 0, None)
    said = seen.look(Pushing(undecided, 0.3), 1, None)
    assert "the judge that was left out" in said
    first, last = seen.checks
    assert first.left_out == pytest.approx(0.02) and last.left_out == pytest.approx(0.02)
    assert last.judge_gap is not None and last.judge_gap > 0.5
    assert seen.best() is first


def test_a_gain_that_everyone_sees_goes_on(place: Simulation, undecided: LearnedPolicy) -> None:
    seen = watch(place, DotJudge(far=0.3))
    assert not seen.look(Pushing(undecided, 0.0), 0, None)
    assert not seen.look(Pushing(undecided, 1.0), 1, None)
    assert seen.best() is seen.checks[1]
    assert seen.checks[1].to_json()["left_out"] == pytest.approx(0.98)


def test_a_gain_that_only_one_world_shows_ends_it(
    place: Simulation, undecided: LearnedPolicy
) -> None:
    slow = DotWorld(drift=-0.05)  # drifts to the right, so that pushes to the left are worth less
    seen = watch(place, DotJudge(), again=slow)
    seen.look(Pushing(undecided, 0.0), 0, None)
    assert "when replayed" in seen.look(Pushing(undecided, 0.5), 1, None)
