import numpy as np
import pytest

from tests.improve.conftest import start
from worldeval.errors import UserError
from worldeval.improve.compose import Composed, best_weight, search_weight
from worldeval.improve.place import Simulation
from worldeval.policy.checkpoint import load
from worldeval.record import Observation


def looked(count: int = 3) -> Observation:
    starts = [start("left", n, x=0.1 * n) for n in range(count)]
    return Observation(
        frames={view: np.stack([one.frames[view] for one in starts]) for view in ("side", "top")},
        pose=np.stack([one.pose for one in starts]),
        tasks=("left",) * count,
    )


def chunk(policy, observation: Observation) -> np.ndarray:
    policy.reset(observation.tasks, range(len(observation)))
    return policy.act(observation)


@pytest.mark.parametrize(("first", "second"), [("diffusion", "flow"), ("flow", "diffusion")])
def test_all_the_weight_on_one_is_that_one(trained, first: str, second: str) -> None:
    one, two = load(trained(first)), load(trained(second))
    seen = looked()
    np.testing.assert_allclose(chunk(Composed(one, two, 1.0), seen), chunk(one, seen), atol=1e-5)


def test_a_policy_with_itself_is_itself(trained) -> None:
    one = load(trained("diffusion"))
    seen = looked()
    np.testing.assert_allclose(chunk(Composed(one, one, 0.3), seen), chunk(one, seen), atol=1e-5)


def test_a_mixture_is_neither(trained) -> None:
    one, two = load(trained("diffusion")), load(trained("flow"))
    seen = looked()
    mixed = chunk(Composed(one, two, 0.5), seen)
    assert np.abs(mixed - chunk(one, seen)).max() > 1e-3
    assert np.abs(mixed - chunk(two, seen)).max() > 1e-3
    assert (
        Composed(one, two, 0.25).spec.name == "0.25*dot-diffusion/step-150+0.75*dot-flow/step-150"
    )


def test_the_best_weight_in_imagination_is_found(trained, place: Simulation, starts) -> None:
    one, two = load(trained("diffusion")), load(trained("flow"))
    tried = search_weight(place, one, two, (0.0, 0.5, 1.0), starts, seed=0)
    rates = [found.imagined.value or 0.0 for found in tried]
    assert [found.weight for found in tried] == [0.0, 0.5, 1.0]
    assert best_weight(tried) == tried[int(np.argmax(rates))].weight


def test_a_regression_policy_has_no_score(trained) -> None:
    with pytest.raises(UserError, match="is a bc policy, which has no score"):
        Composed(load(trained("bc")), load(trained("flow")), 0.5)
