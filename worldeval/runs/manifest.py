"""What a run folder is made of, by content: a name may stay while what it names changes.

`manifest.json` holds fingerprints of the world model, the judge and every policy, and the parts of
the protocol that an episode's outcome depends on. A run folder only grows: policies and starts are
added to it; anything else that differs is refused, since old and new outcomes would not compare.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from worldeval.errors import UserError
from worldeval.run import write_json
from worldeval.runs.files import read_record
from worldeval.runs.paths import RunPaths

REMEDY = (
    "Take it from a copy of the run, or give another --out: without it nobody can say what the "
    "outcomes were made with."
)


@dataclass(frozen=True, kw_only=True)
class PolicyRecord:
    """A policy as it was when it was first tried."""

    ref: str  # its address
    hash: str | None  # of its content; None where nothing tells, as of most servers of others


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What outcomes depend on."""

    seed: int
    world: str  # fingerprint; "" where there is none
    judge: str
    protocol: Mapping[str, Any]
    policies: Mapping[str, PolicyRecord]  # name -> what it is

    def with_earlier(self, earlier: "Manifest", where: Path, *, redo: bool) -> "Manifest":
        """This manifest with the policies that `earlier` has besides.

        Args:
            earlier: of the same run folder.
            where: the folder, for errors.
            redo: take changed policies as new ones, whose episodes are to be done again.

        Raises:
            UserError: something differs that outcomes depend on.
        """
        for what in ("world", "judge"):
            then, now = getattr(earlier, what), getattr(self, what)
            if then and now and then != now:
                raise UserError(
                    f"{where} was begun with another {what} (content {then}, now {now}). "
                    "Its outcomes do not compare: give another --out."
                )
        for key in {**earlier.protocol, **self.protocol}:
            then, now = earlier.protocol.get(key), self.protocol.get(key)
            if then != now:
                raise UserError(
                    f"{where} was begun with {key} {then!r}, now {now!r}. Give another --out."
                )
        if earlier.seed != self.seed:
            raise UserError(f"{where} was begun with --seed {earlier.seed}, not {self.seed}.")
        changed = self.changed(earlier)
        if changed and not redo:
            name = changed[0]
            raise UserError(
                f"Policy {name} ({self.policies[name].ref}) has changed since it was tried in "
                f"{where}: its content was {earlier.policies[name].hash}, now "
                f"{self.policies[name].hash or 'unknown'}. Give --redo-changed to try it anew, or "
                "another --out to keep both."
            )
        return replace(
            self,
            world=self.world or earlier.world,
            judge=self.judge or earlier.judge,
            policies={**earlier.policies, **self.policies},
        )

    def changed(self, earlier: "Manifest") -> list[str]:
        """Policies of both whose content differs. What was unknown cannot be said to differ."""
        then = {name: tried.hash for name, tried in earlier.policies.items()}
        return [
            name
            for name, tried in self.policies.items()
            if then.get(name) is not None and then[name] != tried.hash
        ]


def read_manifest(run: Path) -> Manifest | None:
    """The manifest of a run folder; None where it has none yet.

    Raises:
        UserError: it is damaged.
    """
    path = RunPaths(run).manifest
    return read_record(path, Manifest, remedy=REMEDY) if path.is_file() else None


def write_manifest(run: Path, manifest: Manifest) -> None:
    """Keep it in the run folder."""
    write_json(RunPaths(run).manifest, asdict(manifest))
