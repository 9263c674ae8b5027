"""Short names tell lineage and step apart, or there are none."""

import pytest

from worldeval.report.short_names import lineage_and_step, short_names


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("bc-all/step-2400", ("bc-all", "/step-2400")),
        ("bc-all@250", ("bc-all", "@250")),
        ("lab/act/step-100", ("lab/act", "/step-100")),
        ("blind", ("blind", "")),
        ("runs/last", ("runs/last", "")),  # no step without a digit
    ],
)
def test_a_name_is_a_lineage_and_a_step(name: str, parts: tuple[str, str]) -> None:
    assert lineage_and_step(name) == parts


def test_names_that_fit_stay_as_they_are() -> None:
    assert short_names(["bc/step-1", "blind"], 9) == {"bc/step-1": "bc/step-1", "blind": "blind"}


def test_the_step_is_kept_and_the_lineage_is_cut() -> None:
    names = [
        "pick-and-place-diffusion/step-200",
        "pick-and-place-diffusion/step-2400",
        "act/step-5",
    ]
    assert short_names(names, 20) == {
        names[0]: "pick-and-p…/step-200",
        names[1]: "pick-and-…/step-2400",
        names[2]: "act/step-5",
    }


def test_lineages_that_begin_alike_are_cut_where_they_differ() -> None:
    names = ["pick-and-place-act/step-1", "pick-and-place-dit/step-1"]
    assert short_names(names, 20) == {
        names[0]: "pick-and-p…ct/step-1",
        names[1]: "pick-and-p…it/step-1",
    }


def test_different_lineages_differ_even_if_their_steps_do() -> None:
    names = ["pick-and-place-act/step-1", "pick-and-place-dit/step-2"]
    found = short_names(names, 16)
    assert found is not None
    assert len({text.partition("/")[0] for text in found.values()}) == 2


def test_there_are_none_where_names_would_become_alike() -> None:
    middle = [f"policy-{letter}-of-the-lab/step-1" for letter in "abc"]
    assert short_names(middle, 14) is None
    assert short_names(["a-long-lineage/step-100000"], 8) is None
