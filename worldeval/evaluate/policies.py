# pandas types a cell as anything that a table may hold.
# pyright: reportAttributeAccessIssue=false
"""The policies of an evaluation and their cards: lineage, step, validation error."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from worldeval.errors import UserError
from worldeval.policy.address import read_address
from worldeval.policy.checkpoint import is_checkpoint, read_card
from worldeval.policy.load import expand, load_policy
from worldeval.policy.protocol import PolicySpec
from worldeval.policy.specs import SpecsWanted, tell_specs
from worldeval.rollout.apart import run_apart

PATIENCE = 600.0  # maximum seconds for loading a policy
FOREIGN = ("code", "pickle")  # loading one runs third-party code


def is_foreign(ref: str) -> bool:
    """Whether a policy is third-party code, which may harm the process that runs it."""
    return read_address(ref).kind in FOREIGN


def policy_specs(
    refs: Sequence[str], *, trust_pickle: bool = False, policy_timeout: float | None = PATIENCE
) -> dict[str, PolicySpec]:
    """Read the cards of policies. Third-party code is loaded in a separate process.

    Raises:
        UserError: a policy cannot be loaded, ends its process, or takes longer than
            `policy_timeout` seconds.
    """
    found: dict[str, PolicySpec] = {}
    foreign = [ref for ref in refs if is_foreign(ref)]
    at = ""

    def heard(_: SpecsWanted, said: tuple[str, PolicySpec | None]) -> None:
        nonlocal at
        at, spec = said
        if spec is not None:
            found[at] = spec

    def ended(_: SpecsWanted, error: str | None) -> None:
        if error is not None:
            raise UserError(f"Policy {at} raised an error while it was loaded: {error}")

    if foreign:
        run_apart(
            deque([SpecsWanted(refs=foreign, trust_pickle=trust_pickle)]),
            tell_specs,
            processes=1,
            policy_timeout=policy_timeout,
            heard=heard,
            ended=ended,
        )
    for ref in refs:
        if ref not in found:
            found[ref] = load_policy(ref, trust_pickle=trust_pickle).spec
    return found


def policy_cards(
    refs: Sequence[str], *, trust_pickle: bool = False, policy_timeout: float | None = PATIENCE
) -> pd.DataFrame:
    """Return a row per policy: ref, policy (its name), lineage, step, misleads, validation_mse.

    `validation_mse` is missing for policies that are not our checkpoints. `replan` is how many
    frames of a chunk its authors carry out, missing where they leave it to the protocol, and
    `replan_said_by` who says so.
    """
    rows, asked = [], expand(refs)
    if not asked:
        raise UserError(
            "No policies are given. Give at least one, with --policies or `policies:` in the "
            "recipe."
        )
    specs = policy_specs(asked, trust_pickle=trust_pickle, policy_timeout=policy_timeout)
    for ref in asked:
        spec, folder = specs[ref], Path(read_address(ref).place)
        card = read_card(folder) if is_checkpoint(folder) else None
        rows.append(
            {
                "ref": ref,
                "policy": spec.name,
                "lineage": spec.lineage,
                "step": spec.step,
                "misleads": bool(card and card.misleads),
                "validation_mse": card.validation_mse if card else None,
                "replan": spec.replan and spec.replans(spec.chunk),
                "replan_said_by": spec.replan_said_by,
            }
        )
    table = pd.DataFrame(rows)
    twice = table["policy"][table["policy"].duplicated()]
    if len(twice):
        both = ", ".join(table["ref"][table["policy"] == twice.iloc[0]])
        raise UserError(
            f"Two policies are called '{twice.iloc[0]}' ({both}). Remove one, or rename it with "
            "?name=."
        )
    return table
