"""Read the specs of policies in a separate process, because loading a policy runs its code."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from worldeval.policy.load import load_policy
from worldeval.policy.pulse import waiting


@dataclass(frozen=True, kw_only=True)
class SpecsWanted:
    """Policies whose specs are requested."""

    refs: Sequence[str]
    trust_pickle: bool = False


def tell_specs(wanted: SpecsWanted, say: Callable[[Any], None]) -> None:
    """Send (address, None) before a policy is loaded, and (address, its spec) afterwards."""
    for ref in wanted.refs:
        say((ref, None))
        with waiting():
            spec = load_policy(ref, trust_pickle=wanted.trust_pickle).spec
        say((ref, spec))
