"""Load judges from their addresses (see address.py)."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldeval.config import build
from worldeval.errors import UserError
from worldeval.files import read_json
from worldeval.judge.address import CALIBRATION, JudgeAddress, read_judge_address
from worldeval.judge.correction import Correction
from worldeval.judge.learned import is_uncalibrated as is_learned_from_invented_failures
from worldeval.judge.learned import learned_hash, load_learned
from worldeval.judge.panel import JudgePanel
from worldeval.judge.protocol import FrameJudge, Judge, Render
from worldeval.judge.rollout_judge import RolloutJudge
from worldeval.judge.rule import RuleJudge
from worldeval.judge.rule_of_judges import RuleOfJudges
from worldeval.recipe import shipped
from worldeval.user_code import call_code, load_code

PEOPLE = (
    "People judge episodes that exist: rank with another judge, label in the viewer (worldeval "
    "view RUN), then run: worldeval judge again RUN --judge human --out OTHER."
)


@dataclass(frozen=True, kw_only=True)
class JudgeSetting:
    """What a judge of frames needs to know of a run."""

    render: Render  # decodes a roll-out's frames
    fps: float
    pose_dim: int
    cache: Path | None = None  # folder for answers


def load_judge(ref: str | Path, setting: JudgeSetting | None = None) -> Judge:
    """Load the judge at an address.

    Args:
        setting: for judges of frames; learned judges need none.

    Raises:
        UserError: nothing is there, it is not a judge, or a parameter is wrong.
    """
    address = read_judge_address(str(ref))
    if address.kind == "panel":
        return JudgePanel([load_judge(each, setting) for each in address.members.values()])
    if address.kind == "folder":
        return load_learned(Path(shipped(address.place)))
    if address.kind == "rule" and address.members and setting is not None:
        return RuleOfJudges(
            load_rule(address, columns=setting.pose_dim),
            {name: load_judge(each, setting) for name, each in address.members.items()},
            fps=setting.fps,
            correction=_correction(address),
        )
    judge = load_frame_judge(address, columns=0 if setting is None else setting.pose_dim)
    if setting is None:
        raise UserError(
            f"The judge {ref} looks at frames, which are not decoded here. Use the folder of a "
            "trained judge."
        )
    return RolloutJudge(
        judge,
        setting.render,
        fps=setting.fps,
        correction=_correction(address),
        cache=setting.cache,
    )


def load_frame_judge(address: JudgeAddress, *, columns: int) -> FrameJudge:
    """Load a judge of frames, for recordings as well as for roll-outs.

    Args:
        columns: number of pose columns, which a rule may name.

    Raises:
        UserError: as in `load_judge`; also for folders and panels, which judge latents.
    """
    params = {key: value for key, value in address.params.items() if key != CALIBRATION}
    if address.kind == "code":
        return _from_code(address.place, params)
    if address.kind == "rule":
        judges = {
            name: load_frame_judge(read_judge_address(each), columns=columns)
            for name, each in address.members.items()
        }
        return load_rule(address, columns=columns, judges=judges)
    if address.kind == "vlm":
        from worldeval.judge.vlm.judge import VlmJudge

        return VlmJudge(address.place, params)
    if address.kind == "server":
        from worldeval.judge.remote import RemoteJudge

        return RemoteJudge(address.place, params)
    if address.kind == "human":
        raise UserError(PEOPLE)
    raise UserError(
        f"{address.place} judges what a world model imagines, not frames. Choose a judge of "
        "frames: vlm:, rule:, ws:// or ./mine.py:make."
    )


def load_rule(
    address: JudgeAddress, *, columns: int, judges: Mapping[str, FrameJudge] | None = None
) -> RuleJudge:
    """Load a rule; without the judges that it names, it can only be parsed.

    Raises:
        UserError: the rule names something unknown, or a parameter is invalid.
    """
    params = {key: value for key, value in address.params.items() if key != CALIBRATION}
    return RuleJudge(address.place, params, columns=columns, judges=judges)


def judge_hash(ref: str | Path) -> str:
    """Return a short fingerprint of the judge at an address, for provenance.

    It covers a learned judge's files, the named file of Python code, and otherwise the address with
    its files; what a server runs cannot be seen from here, and is not covered.
    """
    address = read_judge_address(str(ref))
    if address.kind == "folder":
        return learned_hash(Path(shipped(address.place)))
    digest = hashlib.sha256()
    for member in address.members.values():
        digest.update(judge_hash(member).encode())
    if address.kind == "panel":
        return digest.hexdigest()[:12]
    digest.update(f"{address.kind}:{address.place}".encode())
    for key, value in sorted(address.params.items()):
        digest.update(f"{key}={value}".encode())
        if isinstance(value, str) and Path(value).is_file():
            digest.update(Path(value).read_bytes())
    source = Path(address.place.rpartition(":")[0])
    if address.kind == "code" and source.is_file():
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def is_uncalibrated(ref: str | Path) -> bool:
    """Whether the judge's probabilities must not be reported as rates.

    True for judges of frames without `calibration=` (nobody compared them with outcomes), for
    learned judges whose failures were synthesised, and for panels with such a member.
    """
    if not str(ref):
        return False  # a judge in memory
    address = read_judge_address(str(ref))
    if address.kind == "folder":
        return is_learned_from_invented_failures(Path(shipped(address.place)))
    if address.kind == "panel":
        return any(map(is_uncalibrated, address.members.values()))
    return address.kind != "human" and CALIBRATION not in address.params


def is_fixed(ref: str | Path) -> bool:
    """Whether `judge_hash` covers everything that decides the judge's answers: no server."""
    address = read_judge_address(str(ref))
    asked = all(map(is_fixed, address.members.values()))
    return asked and address.kind not in ("server", "vlm")


def judge_folder(ref: str) -> Path | None:
    """Return the folder of a learned judge; None for every other address."""
    address = read_judge_address(ref) if ref else None
    return Path(shipped(ref)) if address is not None and address.kind == "folder" else None


def _correction(address: JudgeAddress) -> Correction | None:
    path = address.params.get(CALIBRATION)
    if path is None:
        return None
    if not Path(str(path)).is_file():
        raise UserError(
            f"There is no calibration {path}. Write one with worldeval judge calibrate --labels."
        )
    return build(Correction, read_json(Path(str(path))), where=str(path))


def _from_code(place: str, params: Mapping[str, Any]) -> FrameJudge:
    made = call_code(place, load_code(place, "judge"), params)
    if callable(made) and not isinstance(made, FrameJudge):
        made = _Function(made, place)
    if not isinstance(made, FrameJudge):
        raise UserError(
            f"{place} returned a {type(made).__name__}, which is not a judge: it needs `name`, "
            "`version` and `judge(episodes)`, or to be a function of episodes (see "
            "worldeval/judge/protocol.py)."
        )
    return made


class _Function:
    """A plain function of episodes."""

    def __init__(self, function: Callable[..., Any], place: str) -> None:
        self.judge = function
        self.name = str(getattr(function, "name", getattr(function, "__name__", place)))
        source = Path(place.rpartition(":")[0])
        content = source.read_bytes() if source.is_file() else place.encode()
        self.version = str(getattr(function, "version", hashlib.sha256(content).hexdigest()[:16]))
