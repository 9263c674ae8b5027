"""Addresses of policies: the part before `?` names the policy, the rest sets its parameters.

| address                              | policy                                              |
|--------------------------------------|-----------------------------------------------------|
| `runs/bc/step-400`                   | a worldeval checkpoint, or a folder or glob of them |
| `package.module:Class`, `f.py:make`  | Python code, called with the parameters             |
| `ws://host:8000`, `wss://host`       | a server that speaks openpi's protocol              |
| `ws://host:8000/*`                   | every policy of a worldeval server                  |
| `lerobot:runs/act`, `lerobot:hub/id` | a LeRobot checkpoint, a run of them, or a glob      |
| `hf:user/name`                       | checkpoints of worldeval on the Hugging Face Hub     |
| `zero`, `random`                     | built in                                            |

`./mine.py:make?chunk=4&size=0.5` sets parameters. Some work with any address: `name=`, `lineage=`
and `step=` set how the policy is listed, `replan_every=` how many frames of a chunk are executed,
`steps_per_frame=` how many of its actions make a world frame, `fps=` how many it gives per second,
and `adapter=FOLDER` converts its actions to the world's (see adapters/).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote

import yaml

from worldeval.errors import UserError
from worldeval.hub import is_hub

Kind = Literal["built-in", "server", "lerobot", "hub", "pickle", "code", "checkpoint"]
BUILTIN = ("random", "zero")
TEXTS = ("name", "lineage")
PICKLES = {".pt", ".pth", ".pkl", ".pickle", ".ckpt"}


@dataclass(frozen=True, kw_only=True)
class Address:
    """One policy's address, parsed."""

    kind: Kind
    place: str  # the part before the parameters
    params: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.params:
            return self.place
        return self.place + "?" + "&".join(f"{key}={_said(v)}" for key, v in self.params.items())


def read_address(ref: str, more: Mapping[str, Any] | None = None) -> Address:
    """Parse `ref`; `more` parameters override its own."""
    place, mark, query = ref.partition("?")
    if not mark or "=" not in query:  # a `?` of a glob
        place, query = ref, ""
    return Address(kind=_kind(place), place=place, params={**read_params(query), **(more or {})})


def read_params(query: str | Sequence[str]) -> dict[str, Any]:
    """Parse `a=1&b=x`, or a list of `key=value`; values are read as YAML scalars."""
    pairs = (
        [unquote(part) for part in query.split("&") if part] if isinstance(query, str) else query
    )
    params = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not key.strip() or not equals:
            raise UserError(f"The parameter '{pair}' must look like key=value.")
        if key.strip() in TEXTS:  # a run called 010000 or NA keeps its name
            params[key.strip()] = text
            continue
        try:
            params[key.strip()] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"The parameter '{pair}' has an unreadable value.") from error
    return params


def with_params(ref: str, params: Mapping[str, Any]) -> str:
    """Add parameters to `ref`; the result is one text that a recipe can store."""
    return str(read_address(ref, params))


def refuse_code(refs: Iterable[str], where: Path, *, remedy: str = "") -> None:
    """Raise UserError if a recipe's or run's file names code, which may be somebody else's.

    `os:system?command=...` is an address too. Addresses that the user types are allowed. `remedy`
    says what to do if the code is trusted.
    """
    for ref in refs:
        if read_address(ref).kind == "code":
            remedy = remedy or f"name it on the command line: --policies '{ref}' or --set "
            f"policies=['{ref}']"
            raise UserError(
                f"{where} names Python code to run as a policy ({ref}). Recipes and runs may not "
                f"run code. If you trust it, {remedy}."
            )


def _kind(place: str) -> Kind:
    if place in BUILTIN:
        return "built-in"
    if place.startswith(("ws://", "wss://")):
        return "server"
    if place.startswith("lerobot:"):
        return "lerobot"
    if is_hub(place):
        return "hub"
    if place.startswith("grpc://"):
        raise UserError(
            f"{place}: LeRobot's PolicyServer uses Python pickles, which can execute arbitrary "
            "code. Serve the same checkpoint with `worldeval serve-policy lerobot:...`, or address "
            "it as `lerobot:...` here."
        )
    path = Path(place)
    if path.suffix in PICKLES:
        return "pickle"
    return "code" if ":" in place and not path.exists() else "checkpoint"


def _said(value: Any) -> str:
    text = value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True)
    return quote(text.removesuffix("...\n").strip(), safe="/:;=+,. @[]{}")
