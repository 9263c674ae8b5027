# pandas types a cell as anything that a table may hold.
# pyright: reportAttributeAccessIssue=false
"""The policies of an evaluation and what their cards say: lineage, step, validation error."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from worldeval.errors import UserError
from worldeval.policy.checkpoint import is_checkpoint, read_card
from worldeval.policy.load import expand, load_policy


def policy_cards(refs: Sequence[str], *, trust_pickle: bool = False) -> pd.DataFrame:
    """A row per policy: ref, policy (its name), lineage, step, misleads, validation_mse.

    `validation_mse` is missing for policies that are not our checkpoints.
    """
    rows = []
    for ref in expand(refs):
        spec = load_policy(ref, trust_pickle=trust_pickle).spec
        card = read_card(Path(ref)) if is_checkpoint(Path(ref)) else None
        rows.append(
            {
                "ref": ref,
                "policy": spec.name,
                "lineage": spec.lineage,
                "step": spec.step,
                "misleads": bool(card and card.misleads),
                "validation_mse": card.validation_mse if card else None,
            }
        )
    table = pd.DataFrame(rows)
    twice = table["policy"][table["policy"].duplicated()]
    if len(twice):
        both = ", ".join(table["ref"][table["policy"] == twice.iloc[0]])
        raise UserError(f"Two policies are called '{twice.iloc[0]}' ({both}); leave one out.")
    return table
