import numpy as np
import pytest

from tests.improve.test_select import attempt
from worldeval.improve.guard import NO_GATE, claim, left_out_claim, paired_difference
from worldeval.record import Verdict
from worldeval.stats import Finding

REFUSED = Finding(code="false_success", severity="refusal", text="Replayed failures succeed.")
WARNED = Finding(code="near_misses_succeed", severity="warning", text="Careful.")


def tried(values) -> list:
    return [attempt(number, value) for number, value in enumerate(values)]


def test_a_clear_gain_is_established() -> None:
    made = claim(tried([0.2] * 40), tried([0.8] * 40), [WARNED])
    assert made.established
    assert made.difference.value == pytest.approx(0.6)
    assert made.difference.low is not None and made.difference.low > 0.3
    assert made.text.startswith("Improved from 0.200")


def test_no_gain_is_not_established() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.uniform(size=(2, 30))
    made = claim(tried(before), tried(after))
    assert not made.established
    assert "the interval includes 0" in made.text


def test_numbers_of_an_untrusted_world_are_withheld() -> None:
    made = claim(tried([0.2] * 40), tried([0.8] * 40), [REFUSED])
    assert not made.established
    assert "not established (false_success)" in made.text
    assert "0.8" not in made.text
    assert "difference" not in made.to_json()


def test_a_gain_in_a_world_that_was_not_asked_about_failures_is_not_established() -> None:
    never = Finding(code=NO_GATE, severity="warning", text="Nothing was replayed.")
    made = claim(tried([0.2] * 40), tried([0.8] * 40), [never])
    assert not made.established
    assert made.text.startswith("Improvement not established: from 0.200")
    assert made.text.endswith("Nothing was replayed.")
    assert made.to_json()["established"] is False


class Unmoved:
    """A judge that sees no difference between policies."""

    name = "unmoved"

    def __call__(self, rollouts):
        return [Verdict(probability=0.4, step=1, judge=self.name) for _ in rollouts]

    def over_time(self, rollouts):
        raise AssertionError("only verdicts are compared")


def test_a_gain_that_the_left_out_judge_does_not_see_is_not_established() -> None:
    before, after = tried([0.2] * 40), tried([0.8] * 40)
    other = left_out_claim(Unmoved(), before, after, batch=16)
    made = claim(before, after, left_out=other)
    assert made.difference.value == pytest.approx(0.6)
    assert other.difference.value == pytest.approx(0)
    assert not made.established
    assert made.text.endswith("the interval of the judge that was left out includes 0.")
    said = made.to_json()["left_out"]
    assert said["judge"] == "unmoved" and said["before"]["value"] == pytest.approx(0.4)
    assert set(said["tasks"]) == set(made.tasks)


def test_policies_from_other_starts_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same starts"):
        claim(tried([0.2, 0.3]), tried([0.2, 0.3])[::-1])


def test_the_paired_interval_covers_a_known_difference() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(20):
        before = (rng.random((100, 1)) < 0.4).astype(float)
        after = np.maximum(before, (rng.random((100, 1)) < 0.5)).astype(float)
        found = paired_difference(before, after)  # the truth is 0.6 * 0.5
        assert found.low is not None and found.high is not None
        inside += found.low <= 0.3 <= found.high
    assert inside >= 18
