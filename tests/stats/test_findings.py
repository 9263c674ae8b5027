"""Refusals 2 to 6, one by one (1 and 7 are met in the tests of ranking and agreement)."""

from worldeval.stats import findings, first_line, never_validated, rate, untrustworthy


def test_optimism_is_refused_by_its_upper_bound() -> None:
    assert untrustworthy(false_success=rate(5, 100)) == []
    assert [f.code for f in untrustworthy(false_success=rate(5, 20))] == ["false_success"]
    assert [f.code for f in untrustworthy(untrusted=0.21)] == ["untrusted_rollouts"]
    assert untrustworthy(untrusted=0.2) == []


def test_the_unvalidated_are_named() -> None:
    found = never_validated(
        lineages=("a", "b"), tasks=("open",), validated_lineages=("a",), validated_tasks=("open",)
    )
    assert [(f.code, f.severity) for f in found] == [("unvalidated_lineage", "warning")]
    assert "b" in found[0].text


def test_correlation_threshold() -> None:
    assert findings.imagination_unhelpful(0.3, 18) == []  # 1 / sqrt(16) = .25
    assert findings.imagination_unhelpful(0.25, 18)[0].code == "real_trials_only"
    assert findings.imagination_unhelpful(None, 18)[0].severity == "refusal"


def test_only_a_refusal_takes_the_first_line() -> None:
    warning = findings.Finding(code="x", severity="warning", text="read with care")
    assert first_line([warning]) is None
    assert (first_line([warning, *findings.no_truth(False)]) or "").startswith("NOT A RANKING")
