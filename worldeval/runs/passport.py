"""passport.json: what a world model and a judge were validated for, with hashes of everything.

A passport is kept in the judge's folder, because a judge belongs to one world model. It also holds
the validated rates from which intervals of true rates are fitted (`stats/predictive.py`).
`passport.html` shows it to people, and `passport.safetensors` holds the fit of start frames.

`Passport` mirrors the file key by key; its JSON Schema is `docs/passport.schema.json`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from worldeval.errors import UserError
from worldeval.files import whole_file
from worldeval.runs.files import fitted, read_record
from worldeval.runs.sealed_json import canonical, seal, sealed_as
from worldeval.stats import Estimate, Finding, ValidatedRates

FILE, PAGE, FRAMES = "passport.json", "passport.html", "passport.safetensors"
SIGNATURE = FILE + ".sig"
SCHEMA_VERSION = 1
REMEDY = "Make it anew: worldeval passport make RUN."


@dataclass(frozen=True, kw_only=True)
class HashedFile:
    """A file that the passport speaks about."""

    role: str  # such as 'tokenizer', 'starts' or 'data card'
    name: str
    path: str = ""  # relative to the passport's folder; "" if the file is kept elsewhere
    sha256: str


@dataclass(frozen=True, kw_only=True)
class PassportModel:
    """A world model or a judge."""

    folder: str  # relative to the passport's folder
    hash: str  # fingerprint, as in a run's summary; "" if unknown
    kind: str = ""  # family of a world model


@dataclass(frozen=True, kw_only=True)
class CameraScope:
    """The pictures."""

    views: tuple[str, ...]
    height: int  # pixels
    width: int


@dataclass(frozen=True, kw_only=True)
class ActionScope:
    """The action space, and the range of every number of a world frame's action in validation."""

    size: int  # numbers of a world frame's action
    meaning: str = ""  # names and units, as the data declare them; "" if they declare nothing
    low: tuple[float, ...] = ()  # empty if no actions were kept
    high: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StartScope:
    """The fit of start frames (`rollout/start_frames.py`), and what fixes its false alarms."""

    fitted: int  # starts to which the distance was fitted
    source: str  # which starts these are
    rate: float | None  # false alarms per start; None if there are too few held-out starts
    held_out: tuple[float, ...] = ()  # distances of starts that fitted nothing, ascending


@dataclass(frozen=True, kw_only=True)
class PassportScope:
    """What was validated, or trained on where nothing was validated."""

    tasks: tuple[str, ...]
    lineages: tuple[str, ...] = ()  # whose success was measured
    cameras: CameraScope | None = None
    fps: float | None = None  # world frames per second
    horizon: int | None = None  # world frames of an episode
    replan_every: int | None = None  # world frames
    sampler_steps: int | None = None  # None: as trained
    actions: ActionScope | None = None
    starts: StartScope | None = None


@dataclass(frozen=True, kw_only=True)
class PassportValidation:
    """A comparison with measured outcomes."""

    run: str  # name of the run folder
    date: str  # ISO 8601, of its summary
    policies: int
    starts: int  # that were both imagined and tried
    agreement: Mapping[str, Estimate] = field(default_factory=dict)  # pearson, spearman, mmrv, ...
    refusals: tuple[Finding, ...] = ()  # claims that the comparison withheld


@dataclass(frozen=True, kw_only=True)
class Passport:
    """Everything that a passport says. Parts that were not measured are None or empty."""

    # NaN is not valid JSON, and a string is not a number.
    __pydantic_config__: ClassVar[Any] = {"allow_inf_nan": False}

    schema_version: int = SCHEMA_VERSION
    made: str  # ISO 8601 date and time
    worldeval: str  # version that made it
    world: PassportModel
    judge: PassportModel
    scope: PassportScope
    validation: PassportValidation | None = None  # None: never compared with measured outcomes
    phi: Estimate | None = None  # trials that an imagined rate is worth; follows from `rates`
    rates: ValidatedRates | None = None  # means over the scope's tasks
    cells: ValidatedRates | None = None  # the same, task by task
    gates: Mapping[str, Estimate] = field(default_factory=dict)
    judge_quality: Mapping[str, float | None] = field(default_factory=dict)  # as it was trained
    uncalibrated: bool = False  # the judge's failures were invented: no rate may be quoted
    probes: Mapping[str, float] = field(default_factory=dict)  # errors of probes; empty: none made
    files: tuple[HashedFile, ...] = ()
    sha256: str = ""  # of the canonical JSON of everything else


def read_passport(folder: Path) -> Passport:
    """Read the passport in a judge's folder.

    Raises:
        UserError: there is none, or it is damaged or was edited.
    """
    path = folder / FILE
    passport = read_record(path, Passport, remedy=REMEDY)
    if (found := sealed_as(path)) != passport.sha256:
        raise UserError(
            f"{path} was edited or is damaged: its content has the checksum {found[:12]}, but it "
            f"says {passport.sha256[:12] or 'none'}. {REMEDY}"
        )
    return passport


def find_passport(folder: Path) -> Passport | None:
    """Read the passport in a judge's folder; None if there is none."""
    return read_passport(folder) if (folder / FILE).is_file() else None


def write_passport(folder: Path, passport: Passport) -> Passport:
    """Write a passport with its checksum, and return it as it will be read.

    A signature of an earlier passport is removed.
    """
    content = seal(passport)
    sealed = fitted(content, Passport, where="The passport")
    (folder / SIGNATURE).unlink(missing_ok=True)
    with whole_file(folder / FILE) as draft:
        draft.write_bytes(canonical(content, indent=2))
    return sealed


def passports_of(place: Path) -> list[Path]:
    """Find the folders of the passports of a judge, a lab or a world model.

    Args:
        place: folder of the passport, of a lab (`worldeval learn`), or of a world model, whose
            passports are in the folders beside it.

    Raises:
        UserError: there is none.
    """
    if place.name == FILE:
        place = place.parent
    for folder in (place, place / "judge"):
        if (folder / FILE).is_file():
            return [folder]
    beside = sorted(place.resolve().parent.glob(f"*/{FILE}")) if place.is_dir() else []
    found = [path.parent for path in beside if _speaks_of(path.parent, place)]
    if not found:
        raise UserError(
            f"{place} has no passport ({FILE}), and no judge beside it has one for this world "
            "model. Make one from a run that was compared with measured outcomes: worldeval "
            "passport make RUN."
        )
    return found


def _speaks_of(folder: Path, world: Path) -> bool:
    said = read_record(folder / FILE, Passport, remedy=REMEDY).world.folder
    return (folder / said).resolve() == world.resolve()
