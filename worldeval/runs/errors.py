"""What went wrong in a run, in an append-only file: policies that failed, judges that abstained."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from worldeval.runs.files import append_line
from worldeval.runs.paths import RunPaths


def note_error(
    run: Path, policy: str, starts: Sequence[str], error: str, *, details: str = ""
) -> None:
    """Append why episodes of a policy from these starts have no outcome."""
    line = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "policy": policy,
        "starts": list(starts),
        "error": error,
        "details": details,
    }
    append_line(RunPaths(run).errors, line)
