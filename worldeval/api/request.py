"""The request of an evaluation: a protocol recipe with the caller's overrides."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from worldeval import recipe as recipes
from worldeval.api.load import Address, JudgeArgument, PolicyArgument, as_list, load_starts
from worldeval.api.recipes import LAB
from worldeval.config import build
from worldeval.envs.address import refuse_env_code
from worldeval.errors import UserError
from worldeval.hub import pinned
from worldeval.judge.address import panel_of, refuse_judge_code
from worldeval.judge.protocol import Judge
from worldeval.policy.address import refuse_code
from worldeval.policy.remote.tokens import name_hosts
from worldeval.recipe import shipped
from worldeval.record import Start
from worldeval.rollout.recipe import ProtocolRecipe
from worldeval.rollout.starts import read_starts, write_starts
from worldeval.rollout.truth import fitted_truth
from worldeval.runs.paths import RunPaths
from worldeval.world.load import read_card
from worldeval.world.world import World

StartArgument = Address | Sequence[Start]


@dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments that `rank`, `imagine` and `truth` share; see `worldeval.rank`."""

    policies: PolicyArgument | None
    world: Address | World | None = None
    judge: JudgeArgument | None = None
    starts: StartArgument | None = None
    protocol: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)  # keys of the protocol, as values
    needs_models: bool = True  # False for the simulator alone
    truth: str = ""  # address of the simulator to compare with, instead of the protocol's

    def addresses(self, out: Path) -> "Request":
        """Check that a request with `out` contains only addresses, and return it.

        Raises:
            UserError: a policy, the world model or the judge is an object in memory.
        """
        live = {
            "world": isinstance(self.world, World),
            "judge": isinstance(self.judge, Judge),
            "policies": any(
                not isinstance(one, str | Path) for one in as_list(self.policies or ())
            ),
        }
        if any(live.values()):
            named = " and ".join(name for name, is_live in live.items() if is_live)
            raise UserError(
                f"With out={str(out)!r}, the work runs in other processes and can be resumed, so "
                f"{named} must be given by address (a folder, or 'file.py:function'). Omit out= to "
                "use objects in memory, and save the result with result.save(folder)."
            )
        return self

    def given_starts(self) -> list[Start] | None:
        """Return the given starts, read from a file if necessary; None if none are given."""
        if self.starts is None:
            return None
        starts = self.starts
        found = load_starts(starts) if isinstance(starts, str | Path) else list(starts)
        count = self.settings.get("starts")
        if not found:
            raise UserError("The list of starts is empty. Give at least one start.")
        if count is None:
            return found
        tasks = dict.fromkeys(start.task for start in found)
        return [one for task in tasks for one in [s for s in found if s.task == task][:count]]

    def recipe(self, starts: Sequence[Start] | None) -> recipes.Recipe:
        """Return the protocol with all overrides applied, and addresses on the hub with commits.

        Raises:
            UserError: an argument is missing or invalid, or a recipe names Python code.
        """
        values = {key: value for key, value in self.settings.items() if value is not None}
        if isinstance(self.world, str | Path):
            values["world"] = str(self.world)
        if self.judge is not None and not isinstance(self.judge, Judge):
            given = self.judge
            refs = list(map(str, [given] if isinstance(given, str | Path) else given))
            name_hosts(refs)  # a token may be sent to a server that the caller names
            values["judge"] = panel_of(refs)
        if self.policies is not None:
            values["policies"] = [
                str(one) if isinstance(one, str | Path) else one.spec.name
                for one in as_list(self.policies)
            ]
        if starts is not None:
            tasks = [start.task for start in starts]
            values["tasks"] = list(dict.fromkeys(tasks))
            values["starts"] = min(tasks.count(task) for task in values["tasks"])
            is_file = isinstance(self.starts, str | Path)
            values["starts_file"] = str(self.starts) if is_file else ""
        if self.protocol is None:
            return self._with_truth(_pinned(self._own(values, starts)))
        found = recipes.load(_in_lab(self.protocol), "protocol", values)
        found = _pinned(_placed(found))
        if "policies" not in values:
            refuse_code(found.config.policies, found.path)
        if "judge" not in values:
            refuse_judge_code(found.config.judge, found.path)
        own = self.truth or any(key.startswith("truth") for key in values)
        if found.config.truth is not None and not own:
            refuse_env_code([found.config.truth.env], found.path)
        return self._with_truth(found)

    def _with_truth(self, found: recipes.Recipe) -> recipes.Recipe:
        """Put the given simulator in the place of the protocol's, compared with the world model."""
        if not self.truth:
            return found
        name_hosts([self.truth])  # a token may be sent to a server that the caller names
        config = found.config
        if isinstance(self.world, World):
            spec = self.world.spec
        else:
            spec = read_card(Path(shipped(config.world)))["spec"]
        truth = fitted_truth(self.truth, spec, task=config.tasks[0], seed=config.first_seed)
        return replace(found, config=replace(config, truth=truth))

    def _own(self, values: dict[str, Any], starts: Sequence[Start] | None) -> recipes.Recipe:
        """Build a protocol from the arguments alone."""
        needed = {"policies": self.policies, "starts": starts}
        if self.needs_models:
            needed |= {"world": self.world, "judge": self.judge}
        for name, value in needed.items():
            if value is None:
                raise UserError(
                    f"Without a protocol recipe, {name}= must be given, such as {EXAMPLES[name]}."
                )
        raw: dict[str, Any] = {"world": "", "judge": ""}
        for key, value in values.items():
            _nested(raw, key, value)
        config = build(ProtocolRecipe, raw, where="rank")
        return recipes.Recipe(
            name="rank", path=Path("rank"), kind="closed-loop", group="protocol", summary="",
            config=config,
        )  # fmt: skip


EXAMPLES = {
    "policies": "'runs/bc/step-*'",
    "starts": "'evaluation/mine/starts.h5'",
    "world": "'models/latent'",
    "judge": "'models/judge'",
}


def _in_lab(protocol: str) -> str:
    """The protocol of a lab (`worldeval learn`) where its folder is named."""
    path = Path(protocol) / LAB
    return str(path) if path.is_file() else protocol


def _placed(found: recipes.Recipe) -> recipes.Recipe:
    """The paths of a lab's protocol are relative to it, so that a lab can be moved."""
    config, home = found.config, found.path.parent
    if found.path.name != LAB:
        return found
    own = {
        name: str(home / getattr(config, name))
        for name in ("world", "judge", "starts_file", "replays", "recordings")
        if getattr(config, name) and (home / getattr(config, name)).exists()
    }
    return replace(found, config=replace(config, **own))


def _pinned(found: recipes.Recipe) -> recipes.Recipe:
    """Name the commits of what is on the hub, so that the run folder says what was used."""
    config = found.config
    own = {
        name: pinned(getattr(config, name), "dataset" if name == "recordings" else "model")
        for name in ("world", "judge", "checker", "starts_file", "replays", "recordings")
    }
    policies = []
    for ref in config.policies:
        place, mark, parameters = ref.partition("?")
        policies.append(pinned(place) + mark + parameters)
    return replace(found, config=replace(config, **own, policies=tuple(policies)))


def keep_starts(folder: Path, starts: Sequence[Start]) -> None:
    """Add the given starts to a run folder.

    Raises:
        UserError: the folder contains a different start of the same name.
    """
    path = RunPaths(folder).starts
    kept = {start.id: start for start in read_starts(path)} if path.is_file() else {}
    for start in starts:
        known = kept.get(start.id, start)
        if known is not start and not _same(known, start):
            raise UserError(
                f"{folder} was begun with another start '{start.id}' than the one given now. "
                "Use another out= folder."
            )
    more = [start for start in starts if start.id not in kept]
    if more:
        write_starts(path, [*kept.values(), *more])


def resolved(config: ProtocolRecipe, found: recipes.Recipe) -> dict[str, Any]:
    """Return the recipe that is stored in the run folder."""
    return {**found.resolved(), "policies": list(config.policies)}


def _same(one: Start, other: Start) -> bool:
    alike = one.task == other.task and one.seed == other.seed
    return (
        alike
        and bool(np.allclose(one.pose, other.pose))
        and one.frames.keys() == (other.frames.keys())
        and all(np.array_equal(one.frames[view], other.frames[view]) for view in one.frames)
    )


def _nested(raw: dict[str, Any], key: str, value: Any) -> None:
    *parents, leaf = key.split(".")
    for parent in parents:
        raw = raw.setdefault(parent, {})
    raw[leaf] = asdict(value) if hasattr(value, "__dataclass_fields__") else value
