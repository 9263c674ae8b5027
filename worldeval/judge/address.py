r"""Addresses of judges, as `--judge` and a protocol's `judge` take them.

| address                               | judge                                                   |
|---------------------------------------|---------------------------------------------------------|
| `runs/judge`                          | a folder written by `worldeval judge train`             |
| `./mine.py:make`, `package.mod:Class` | Python code that returns a judge of frames              |
| `ws://host:8000`, `wss://host`        | a judge in another environment (`serve-judge`)          |
| `vlm:http://host:8000/v1?model=NAME`  | a model of pictures and words with OpenAI's chat API    |
| `rule:z > 0.2 and gripper < 0.1`      | an expression over predicted proprioception             |
| `human?labels=RUN`                    | labels that people gave in the viewer                   |
| `A \| B`                              | a panel: the mean of several judges                     |

Parameters follow a `?`: `./mine.py:make?threshold=0.5`. `calibration=FILE` works with all but
folders and panels (`worldeval judge calibrate --labels` writes it). A rule can ask other judges:
`rule:judge > 0.8 and z > 0.1?judge=runs/judge&z=2`; `&` in their addresses is written `%26`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from worldeval.errors import UserError
from worldeval.hub import is_hub
from worldeval.policy.address import read_params

Kind = Literal["folder", "code", "server", "vlm", "rule", "human", "panel"]
CALIBRATION = "calibration"  # parameter of an address
BESIDE = " | "  # between the members of a panel; no address contains it


@dataclass(frozen=True, kw_only=True)
class JudgeAddress:
    """One judge's address, parsed."""

    kind: Kind
    place: str  # without its kind's prefix and parameters
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def members(self) -> Mapping[str, str]:
        """Addresses of the judges that this one asks, by name: a panel's, or those of a rule."""
        if self.kind == "panel":
            parts = (part.strip() for part in self.place.split(BESIDE))
            return {str(number): part for number, part in enumerate(parts)}
        if self.kind == "rule":
            named = self.params.items()
            return {key: ref for key, ref in named if isinstance(ref, str) and key != CALIBRATION}
        return {}


def read_judge_address(ref: str) -> JudgeAddress:
    """Parse the address of a judge.

    Raises:
        UserError: it is incomplete, or its parameters cannot be read.
    """
    if BESIDE in ref:
        return JudgeAddress(kind="panel", place=ref)
    place, _, query = ref.partition("?")
    params = read_params(query)
    for kind in ("vlm", "rule"):
        prefix = f"{kind}:"
        if ref.startswith(prefix):
            return JudgeAddress(kind=kind, place=_named(place[len(prefix) :], ref), params=params)
    if place == "human":
        return JudgeAddress(kind="human", place=place, params=params)
    if place.startswith(("ws://", "wss://")):
        return JudgeAddress(kind="server", place=place, params=params)
    if ":" in place and not is_hub(place) and not Path(place).exists():
        return JudgeAddress(kind="code", place=place, params=params)
    if params:
        raise UserError(
            f"{place} is the folder of a trained judge, which takes no parameters (got "
            f"{', '.join(params)})."
        )
    return JudgeAddress(kind="folder", place=place)


def panel_of(refs: Iterable[str]) -> str:
    """Return the address of a panel of these judges, or the only one's own address."""
    return BESIDE.join(refs)


def refuse_judge_code(ref: str, where: Path, *, remedy: str = "") -> None:
    """Raise UserError if a recipe or run names Python code as its judge.

    Recipes and runs may be somebody else's. Addresses that the user types are allowed. `remedy`
    says what to do if the code is trusted.
    """
    address = read_judge_address(ref)
    for member in address.members.values():
        refuse_judge_code(member, where, remedy=remedy)
    if address.kind == "code":
        raise UserError(
            f"{where} names Python code to run as a judge ({ref}). Recipes and runs may not "
            f"run code. If you trust it, {remedy or f'name it: --judge {ref!r}'}."
        )


def _named(place: str, ref: str) -> str:
    if not place.strip():
        raise UserError(
            f"The judge {ref!r} is incomplete: vlm: needs a server's address, rule: an expression."
        )
    return place.strip()
