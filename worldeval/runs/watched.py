"""watch.json: the checkpoints of a training run, each compared with the best one before it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from worldeval.files import write_json
from worldeval.runs.files import read_record
from worldeval.runs.paths import RunPaths
from worldeval.stats import Estimate

REMEDY = "Restore it, or give another --out: without it, earlier verdicts cannot be corrected for."


@dataclass(frozen=True, kw_only=True)
class WatchedCheckpoint:
    """One checkpoint and the verdict on it."""

    number: int  # 1 is the first that was looked at
    policy: str
    ref: str  # its address
    lineage: str
    step: int
    verdict: str  # 'first', 'better', 'tied' or 'worse'
    against: str | None  # the best one before it; None for the first
    success: Estimate  # predicted, over the starts that were imagined
    difference: Estimate | None = None  # this one minus the best; holds for all checkpoints at once
    p: float | None = None
    allowed: float | None = None  # the pair is separated if p is at most this
    best: str = ""  # after this checkpoint


def read_watched(run: Path) -> list[WatchedCheckpoint]:
    """Read the checkpoints of a watched training run, in order; none if nothing was compared yet.

    Raises:
        UserError: the file is damaged.
    """
    path = RunPaths(run).watched
    if not path.is_file():
        return []
    return read_record(path, list[WatchedCheckpoint], remedy=REMEDY)


def write_watched(run: Path, checkpoints: Sequence[WatchedCheckpoint]) -> None:
    """Write the checkpoints of a watched training run."""
    write_json(RunPaths(run).watched, [asdict(each) for each in checkpoints])
