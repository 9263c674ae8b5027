"""What was found of the interfaces of a run's policies, by the content of policy and recordings."""

from dataclasses import dataclass
from pathlib import Path

from worldeval.files import write_json
from worldeval.runs.files import read_record
from worldeval.runs.paths import RunPaths


@dataclass(frozen=True, kw_only=True)
class InterfaceRecord:
    """One policy's check."""

    policy: str
    known_by: str  # fingerprint of the policy, the recordings and the seed
    misread: str = ""
    unchecked: str = ""


def read_interface_checks(run: Path) -> dict[str, InterfaceRecord]:
    """Read the checks of a run by policy; empty if there are none."""
    path = RunPaths(run).interface_checks
    if not path.is_file():
        return {}
    found = read_record(path, list[InterfaceRecord], remedy="Remove the file.")
    return {each.policy: each for each in found}


def write_interface_checks(run: Path, found: dict[str, InterfaceRecord]) -> None:
    """Write the checks of a run."""
    write_json(RunPaths(run).interface_checks, [vars(each) for each in found.values()])
