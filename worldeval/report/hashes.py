"""Fingerprints of everything that a run was made from, for its report."""

from dataclasses import dataclass

from worldeval.runs.checksums import digest
from worldeval.runs.manifest import read_manifest
from worldeval.runs.paths import IMAGINED, TRUTH, RunPaths
from worldeval.runs.replayed import read_replayed
from worldeval.runs.summary import Summary

SHORT = 12  # hexadecimal digits, as those of models and policies


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """The content of one part of a run."""

    kind: str  # world model, judge, policy or data
    name: str  # folder, address or file
    hash: str  # hexadecimal; "" if it is unknown


def fingerprints(paths: RunPaths, summary: Summary) -> tuple[Fingerprint, ...]:
    """Return the fingerprints of world model, judge, policies and data, as far as they are known.

    Those of models and policies were taken when the run was made; those of its own files are of
    what the files hold now.

    Raises:
        UserError: the manifest is damaged.
    """
    manifest = read_manifest(paths.folder)
    found = []
    for kind, model, known in (
        ("world model", summary.world, manifest.world if manifest else ""),
        ("judge", summary.judge, manifest.judge if manifest else ""),
    ):
        told = (model.hash if model else None) or known
        if model or told:
            found.append(Fingerprint(kind=kind, name=(model and model.folder) or "", hash=told))
    for name, policy in sorted(manifest.policies.items()) if manifest else ():
        found.append(Fingerprint(kind="policy", name=name, hash=policy.hash or ""))
    kept = read_replayed(paths.folder)
    if kept is not None and kept.recordings:
        found.append(
            Fingerprint(kind="data", name="recordings replayed", hash=kept.recordings[:SHORT])
        )
    for path in (paths.starts, paths.outcomes(IMAGINED), paths.outcomes(TRUTH)):
        if path.is_file():
            name = path.relative_to(paths.folder).as_posix()
            found.append(Fingerprint(kind="data", name=name, hash=digest(path)[:SHORT]))
    return tuple(found)
