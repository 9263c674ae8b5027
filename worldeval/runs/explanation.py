"""explanation.json: where two policies of a run part, and what a simulator says to it.

Everything is a typed record, so that the page, the command and Python read the same numbers.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from worldeval.files import write_json
from worldeval.runs.files import read_record
from worldeval.stats import Estimate

FILE = "explanation.json"
AGAIN = "Run `worldeval explain` again to write it anew."


@dataclass(frozen=True, kw_only=True)
class HandoverCurve:
    """Probability of success of episodes in which one policy hands over to another one."""

    first: str  # acts until the moment
    second: str  # acts from the moment on
    moments: tuple[int, ...]  # world frames; 0: the second alone, the last: the first alone
    probability: tuple[float, ...]  # by the judge, at each moment


@dataclass(frozen=True, kw_only=True)
class SimulatedHandover:
    """The simulator's outcomes from the same start."""

    winner: bool  # the winner alone
    loser: bool
    before: bool  # the winner takes over before the decisive chunk
    after: bool  # the winner takes over after it

    @property
    def differs(self) -> bool:
        """Whether the simulator agrees that one succeeds and the other does not."""
        return self.winner and not self.loser

    @property
    def confirmed(self) -> bool:
        """Whether the outcome also flips at that chunk."""
        return self.differs and self.before and not self.after


@dataclass(frozen=True, kw_only=True)
class PartedStart:
    """A start from which one policy succeeds and the other fails, by the judge."""

    start: str
    task: str
    seed: int
    winner: str
    loser: str
    probability: Mapping[str, float]  # of success, of each policy alone
    begin: int  # the decisive chunk of the loser: world frames begin to end - 1
    end: int
    phase: str
    clear: bool  # whether one change explains the curve `rescue`
    rescue: HandoverCurve  # the loser until the moment, the winner from there
    spoil: HandoverCurve  # the winner until the moment, the loser from there
    won: int | None = None  # frame from which the loser can finish; None: no single one
    evidence: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # by frame, of each
    onset: Mapping[str, int | None] = field(default_factory=dict)  # frame of contact, of each
    simulated: SimulatedHandover | None = None
    film: str = ""  # file beside explanation.json


@dataclass(frozen=True, kw_only=True)
class PartingCluster:
    """Starts that one policy loses in the same phase."""

    loser: str
    phase: str  # or NO_MOMENT
    share: Estimate  # of the starts that it loses to the other
    count: int
    begin: tuple[int, int, int]  # decisive frame: first, median, last
    tasks: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class SimulatorCheck:
    """How much of the explanation holds in the simulator."""

    differs: Estimate  # share of starts at which the simulator, too, has the winner and the loser
    confirmed: Estimate  # of these, the share whose outcome flips at the decisive chunk
    chance: float  # the same for a chunk chosen at random, if the outcome flips once


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Where two policies part, over the starts that they share."""

    first: str
    second: str
    tasks: tuple[str, ...]
    starts: int  # that both were run from
    both: int  # succeed
    neither: int
    first_only: int
    second_only: int
    p: float  # exact sign test of the starts that differ
    sentences: tuple[str, ...]
    clusters: tuple[PartingCluster, ...]
    parted: tuple[PartedStart, ...]
    phases: str  # how the phases were told
    changed: int = 0  # starts at which imagining anew gave another verdict; left out
    left_out: int = 0  # further starts that differ, above the number asked for
    controls: int = 0  # starts at which both agree, that were handed over too
    control_changes: Estimate | None = None  # hand-overs there that change the verdict
    simulator: SimulatorCheck | None = None
    unchecked: str = ""  # why there is no check in the simulator

    @property
    def tied(self) -> bool:
        """Whether the starts leave open which policy succeeds more often."""
        return self.p > 0.05


def write_explanation(folder: Path, found: Explanation) -> Path:
    """Write the explanation to a folder; returns the path of the file."""
    path = folder / FILE
    write_json(path, asdict(found))
    return path


def read_explanation(folder: Path) -> Explanation:
    """Read the explanation of a folder.

    Raises:
        UserError: there is none, or it is damaged.
    """
    return read_record(folder / FILE, Explanation, remedy=AGAIN)
