"""Starts of a run folder, stored with a checksum.

Images that changed on the disk would change what every policy sees.
"""

from collections.abc import Sequence
from pathlib import Path

from worldeval.record import Start
from worldeval.rollout.starts import read_starts, write_starts
from worldeval.runs.checksums import check, keep
from worldeval.runs.paths import RunPaths

REMEDY = (
    "Restore the file from a copy of the run, or give another --out: outcomes from other starts do "
    "not compare."
)


def read_kept_starts(run: Path) -> list[Start]:
    """Read the starts of a run.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = RunPaths(run).starts
    if path.is_file():
        check(path, remedy=REMEDY)
    return read_starts(path)


def keep_starts(run: Path, starts: Sequence[Start]) -> None:
    """Write the starts of a run."""
    path = RunPaths(run).starts
    with keep(path):
        write_starts(path, list(starts))
