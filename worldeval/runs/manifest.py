"""Fingerprints of everything that the outcomes of a run depend on.

`manifest.json` holds content fingerprints of the world model, the judge and every policy, and the
parts of the protocol that an episode's outcome depends on; names alone may stay while the content
changes. A run folder only grows: policies and starts can be added. Any other difference is refused,
because old and new outcomes would not be comparable.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from worldeval.errors import UserError
from worldeval.files import write_json
from worldeval.runs.files import read_record
from worldeval.runs.paths import RunPaths

REMEDY = (
    "Restore it from a copy of the run, or give another --out: without it, the origin of the "
    "outcomes is unknown."
)


@dataclass(frozen=True, kw_only=True)
class PolicyRecord:
    """A policy as it was when it was first run."""

    ref: str  # its address
    hash: str | None  # of its content; None if unknown, as for most third-party servers


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything that outcomes depend on."""

    seed: int
    world: str  # fingerprint; "" if there is none
    judge: str
    protocol: Mapping[str, Any]
    policies: Mapping[str, PolicyRecord]  # name -> what it is

    def with_earlier(self, earlier: "Manifest", where: Path, *, redo: bool) -> "Manifest":
        """Return this manifest with the additional policies of `earlier`.

        Args:
            earlier: previous manifest of the same run folder.
            where: the folder, for error messages.
            redo: treat changed policies as new ones, whose episodes will be run again.

        Raises:
            UserError: something that outcomes depend on differs.
        """
        for what in ("world", "judge"):
            then, now = getattr(earlier, what), getattr(self, what)
            if then and now and then != now:
                raise UserError(
                    f"{where} was begun with another {what} (content {then}, now {now}), so its "
                    "outcomes are not comparable. Give another --out."
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
                f"Policy {name} ({self.policies[name].ref}) has changed since it was run in "
                f"{where}: its content was {earlier.policies[name].hash}, now "
                f"{self.policies[name].hash or 'unknown'}. Give --redo-changed to run it again, or "
                "another --out to keep both."
            )
        return replace(
            self,
            world=self.world or earlier.world,
            judge=self.judge or earlier.judge,
            policies={**earlier.policies, **self.policies},
        )

    def changed(self, earlier: "Manifest") -> list[str]:
        """Return the common policies whose content differs; unknown content never differs."""
        then = {name: tried.hash for name, tried in earlier.policies.items()}
        return [
            name
            for name, tried in self.policies.items()
            if then.get(name) is not None and then[name] != tried.hash
        ]


def read_manifest(run: Path) -> Manifest | None:
    """Read the manifest of a run folder; None if it has none yet.

    Raises:
        UserError: the manifest is damaged.
    """
    path = RunPaths(run).manifest
    return read_record(path, Manifest, remedy=REMEDY) if path.is_file() else None


def write_manifest(run: Path, manifest: Manifest) -> None:
    """Write the manifest to the run folder."""
    write_json(RunPaths(run).manifest, asdict(manifest))
