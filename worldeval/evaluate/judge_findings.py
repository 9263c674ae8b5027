# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false
"""What a run says of its judge: episodes without a verdict, and judges that disagree."""

from collections.abc import Mapping

import pandas as pd

from worldeval.judge.address import read_judge_address
from worldeval.stats import Finding

MANY = 0.1  # share of a policy's episodes without a verdict, beyond which its rate is refused
APART = 0.25  # mean difference between the judges of a panel, beyond which a policy is named
FEWEST = 10  # episodes from which a judge that always says the same is refused
SAME = 1e-6  # difference of probabilities that counts as none
SHOWN = 5  # policies named in a finding


def said_of_judge(
    judge: str, without: Mapping[str, int], imagined: pd.DataFrame
) -> tuple[Finding, ...]:
    """Return all findings about the judge at an address; the rest as in `abstentions`."""
    one_thing = says_one_thing(imagined)
    return (*abstentions(without, imagined), *one_thing, *panel_splits(judge, imagined))


def abstentions(without: Mapping[str, int], imagined: pd.DataFrame) -> tuple[Finding, ...]:
    """Report episodes on which the judge gave no verdict; they are left out of every rate.

    Args:
        without: policy -> episodes without a verdict.
        imagined: outcomes, with one row per episode that has one.
    """
    if not any(without.values()):
        return ()
    judged = imagined["policy"].value_counts().to_dict()
    shares = {
        policy: count / (count + int(judged.get(policy, 0))) for policy, count in without.items()
    }
    many = [policy for policy, share in shares.items() if share > MANY]
    worst = sorted(shares, key=lambda policy: -shares[policy])[:SHOWN]
    named = ", ".join(f"{policy} {shares[policy]:.0%}" for policy in worst)
    text = (
        f"The judge gave no verdict on {sum(without.values())} episodes ({named}). They are left "
        "out; if they differ from the others, the rates are wrong by up to that share. "
        "errors.jsonl says why; the same command asks again, which helps if a judge did not answer."
    )
    severity = "refusal" if many else "warning"
    return (Finding(code="judge_abstains", severity=severity, text=text),)


def says_one_thing(imagined: pd.DataFrame) -> tuple[Finding, ...]:
    """Report a judge that gave one and the same probability to every episode."""
    score = imagined["score"]
    if len(score) < FEWEST or float(score.max() - score.min()) > SAME:
        return ()
    text = (
        f"The judge gave the probability {float(score.iloc[0]):.2f} to all {len(score)} episodes, "
        "so it tells no policy from another. Look at films: does it see the task at all?"
    )
    return (Finding(code="judge_constant", severity="refusal", text=text),)


def panel_splits(judge: str, imagined: pd.DataFrame) -> tuple[Finding, ...]:
    """Name the policies on whose episodes the judges of a panel disagree."""
    if not judge or read_judge_address(judge).kind != "panel":
        return ()
    apart = {
        str(policy): float(rows["disagreement"].mean())
        for policy, rows in imagined.groupby("policy")
    }
    split = sorted((name for name in apart if apart[name] > APART), key=lambda name: -apart[name])
    if not split:
        return ()
    named = ", ".join(f"{policy} {apart[policy]:.2f}" for policy in split[:SHOWN])
    more = f" and {len(split) - SHOWN} more" if len(split) > SHOWN else ""
    text = (
        f"The judges of the panel disagree on {len(split)} of {len(apart)} policies (mean "
        f"difference of their probabilities above {APART}: {named}{more}). Look at these episodes "
        "before you trust their rates."
    )
    return (Finding(code="judges_disagree", severity="warning", text=text),)
