"""Fingerprints of a run: of models and policies as they were, of its own files as they are."""

import hashlib
from pathlib import Path

from worldeval.report.hashes import fingerprints
from worldeval.runs.manifest import Manifest, PolicyRecord, write_manifest
from worldeval.runs.paths import RunPaths
from worldeval.runs.replayed import ReplayedGates, write_replayed
from worldeval.runs.summary import ModelSummary, Summary


def test_world_judge_policies_and_data(tmp_path: Path) -> None:
    policies = {"b": PolicyRecord(ref="b", hash=None), "a": PolicyRecord(ref="a", hash="aa")}
    write_manifest(tmp_path, Manifest(seed=0, world="w", judge="j", protocol={}, policies=policies))
    write_replayed(tmp_path, ReplayedGates(known_by="k", recordings="f" * 64, gates={}))
    (tmp_path / "starts.h5").write_bytes(b"starts")
    summary = Summary(world=ModelSummary(folder="models/latent", hash="ww"))
    found = fingerprints(RunPaths(tmp_path), summary)
    assert [(each.kind, each.name, each.hash) for each in found] == [
        ("world model", "models/latent", "ww"),
        ("judge", "", "j"),
        ("policy", "a", "aa"),
        ("policy", "b", ""),
        ("data", "recordings replayed", "f" * 12),
        ("data", "starts.h5", hashlib.sha256(b"starts").hexdigest()[:12]),
    ]


def test_a_run_without_a_manifest_has_what_its_summary_says(tmp_path: Path) -> None:
    assert fingerprints(RunPaths(tmp_path), Summary()) == ()
