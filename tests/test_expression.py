"""Selections: what they keep, and that nothing but comparing is possible in them."""

import pytest

from worldeval.errors import UserError
from worldeval.expression import Expression

RECORD = {
    "success": True,
    "probability": 0.85,
    "policy": "bc-400",
    "task": "drawer-open",
    "seed": 3,
    "trust": 0.9,
}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("success", True),
        ("not success", False),
        ("success and probability > 0.8", True),
        ("success and probability > 0.9", False),
        ("probability > 0.9 or trust >= 0.9", True),
        ("0.5 < probability <= 0.85", True),
        ("0.5 < probability < 0.6", False),
        ("task == 'drawer-open' and seed != 4", True),
        ("policy in ('bc-400', 'bc-800')", True),
        ("policy not in ['bc-400']", False),
        ("'bc' in policy", True),
        ("probability * trust > 0.7", True),
        ("-seed < 0", True),
        ("  success\n", True),
        ("True", True),
    ],
)
def test_what_is_kept(text: str, kept: bool) -> None:
    assert Expression(text, RECORD)(RECORD) is kept


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "policy.upper() == 'BC'",
        "policy.__class__",
        "[x for x in policy]",
        "(lambda: 1)()",
        "policy[0] == 'b'",
        "seed ** 99999999",
        "'a' if success else 'b'",
        "f'{seed}'",
        "(n := 3)",
        "{'a': 1}",
        "b'x' in policy",
        "None",
        "1j",
        "...",
    ],
)
def test_anything_else_is_refused_before_it_runs(text: str) -> None:
    with pytest.raises(UserError, match="is not allowed there"):
        Expression(text, RECORD)


def test_an_unknown_column_answers_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no column 'probabilty'\. Did you mean 'probability'\?"):
        Expression("probabilty > 0.8", RECORD)


@pytest.mark.parametrize("text", ["success and", "", "import os", "a; b", "(" * 500, "\0"])
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(UserError, match="cannot be parsed"):
        Expression(text, RECORD)


def test_what_cannot_be_worked_out_names_the_record() -> None:
    with pytest.raises(UserError, match=r"cannot be evaluated for .*bc-400"):
        Expression("policy > 3", RECORD)(RECORD)
    with pytest.raises(UserError, match="division by zero"):
        Expression("1 / (seed - 3) > 0", RECORD)(RECORD)


def test_a_very_long_text_is_refused() -> None:
    with pytest.raises(UserError, match="1000 are allowed"):
        Expression("success" + " or success" * 200, RECORD)
