"""What predictions are compared with, in words: the simulator, real trials, or it is not known."""

from dataclasses import dataclass

from worldeval.runs.paths import RunPaths
from worldeval.runs.summary import REAL_TRIALS, SIMULATOR, Summary


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The words for one kind of measured outcomes."""

    label: str  # of a row or a bar: 'simulator'
    adjective: str  # before 'success': 'simulated'
    source: str  # after 'agreement with': 'the simulator'
    where: str  # after 'failure': 'in the simulator'
    done: str  # after 'episodes were imagined and': 'simulated'


IN_SIMULATOR = Compared(
    label="simulator",
    adjective="simulated",
    source="the simulator",
    where="in the simulator",
    done="simulated",
)
IN_REALITY = Compared(
    label="real",
    adjective="real",
    source="real trials",
    where="in reality",
    done="tried on the robot",
)
SOMEHOW = Compared(
    label="measured",
    adjective="measured",
    source="the measured outcomes",
    where="as measured",
    done="measured",
)


def compared_with(paths: RunPaths, summary: Summary) -> Compared:
    """Return the words for the outcomes that a run is compared with.

    Runs of earlier versions do not say it, but a simulator left its episodes in the folder.
    """
    known = {SIMULATOR: IN_SIMULATOR, REAL_TRIALS: IN_REALITY}
    if summary.compared_with in known:
        return known[summary.compared_with]
    return IN_SIMULATOR if any(paths.truth.glob("*.csv")) else SOMEHOW
