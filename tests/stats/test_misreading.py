"""When a change is named: a large and certain gain, over episodes."""

from dataclasses import replace

import numpy as np
import pytest

from worldeval.stats.misreading import ErrorsOfChange, alike, effects


def errors(
    code: str, before: float, after: float, *, n: int = 20, noise: float = 0.05
) -> ErrorsOfChange:
    rng = np.random.default_rng(len(code))
    one, other = (value + rng.normal(0, noise, n) for value in (before, after))
    return ErrorsOfChange(code=code, before=one, after=other, total=other)


@pytest.mark.parametrize(
    ("before", "after", "n", "helps"),
    [
        (1.0, 0.3, 20, True),
        (1.0, 1.0, 20, False),
        (1.0, 0.9, 20, False),  # certain, but small
        (0.3, 1.0, 20, False),
        (1.0, 0.3, 2, False),  # two episodes establish nothing
    ],
)
def test_a_change_helps_if_the_gain_is_large_and_certain(
    before: float, after: float, n: int, helps: bool
) -> None:
    (effect,) = effects([errors("a", before, after, n=n)])
    assert effect.helps == helps
    assert effect.gain.value == pytest.approx(before - after, abs=0.1)


def test_the_more_is_tried_the_more_it_takes() -> None:
    one = errors("a", 1.0, 0.55, noise=0.35, n=8)
    (alone,) = effects([one])
    among = effects([one, *(errors(f"other{i}", 1.0, 1.0) for i in range(60))])[0]
    assert among.p_holm > alone.p_holm
    assert among.gain.width > alone.gain.width  # type: ignore[operator]


def test_answers_that_fit_other_moments_as_well_are_uninformed() -> None:
    (effect,) = effects([errors("a", 1.0, 0.3)])
    assert not effect.informed  # not worked out
    assert not replace(effect, shuffled=0.32).informed
    assert replace(effect, shuffled=1.2).informed


def test_changes_that_help_alike_are_told() -> None:
    best, same, worse = (errors(code, 1.0, after) for code, after in
                         (("best", 0.3), ("as good", 0.3), ("worse", 0.6)))  # fmt: skip
    assert alike(best, [best, same, worse]) == ["as good"]


def test_no_error_has_no_share_and_no_certainty() -> None:
    nothing = ErrorsOfChange(code="a", before=np.zeros(5), after=np.zeros(5), total=np.zeros(5))
    (effect,) = effects([nothing])
    assert (effect.share, effect.helps, effect.p_holm) == (0.0, False, 1.0)
    assert effects([]) == []
