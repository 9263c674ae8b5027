"""The gates of a run, by the content of world model, judge and recordings."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from worldeval.errors import UserError
from worldeval.files import write_json
from worldeval.runs.checksums import intact, keep
from worldeval.runs.files import read_record
from worldeval.runs.paths import RunPaths
from worldeval.stats import Estimate


@dataclass(frozen=True, kw_only=True)
class ReplayedGates:
    """What replaying the recordings gave."""

    known_by: str  # fingerprint of everything that the numbers depend on
    recordings: str = ""  # SHA-256 of the file of recordings
    gates: Mapping[str, Estimate]


def read_replayed(run: Path) -> ReplayedGates | None:
    """Read the gates of a run; None if there are none, or if the file is damaged."""
    path = RunPaths(run).gates
    try:
        return read_record(path, ReplayedGates) if path.is_file() and intact(path) else None
    except UserError:  # they are computed again
        return None


def write_replayed(run: Path, found: ReplayedGates) -> None:
    """Write the gates of a run, with a checksum."""
    gates = {name: vars(value) for name, value in found.gates.items()}
    with keep(RunPaths(run).gates):
        write_json(RunPaths(run).gates, {**vars(found), "gates": gates})
