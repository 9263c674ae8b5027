"""Gates of a run folder, computed once for the same world model, judge and recordings.

The result is stored with a fingerprint of everything that it depends on, so a finished run does
not replay its recordings again.
"""

import hashlib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np

from worldeval.evaluate.gates import REVISION, Gates, run_gates
from worldeval.judge.protocol import Judge
from worldeval.rollout.starts import read_recordings
from worldeval.runs.checksums import digest
from worldeval.runs.replayed import ReplayedGates, read_replayed, write_replayed
from worldeval.world.world import World

REPLAYING = "replaying recordings"  # the stage, in what progress says


def kept_gates(
    run: Path,
    replays: Path,
    models: Callable[[], tuple[World, Judge]],
    *,
    world: str,
    judge: str,
    seed: int,
    sampler_steps: int | None = None,
    progress: Callable[[int, int], None],
) -> Gates:
    """Return the gates of a run folder; recordings are replayed if they never were.

    Args:
        run: folder that keeps the result.
        replays: file of recorded episodes.
        models: loads the world model and the judge, where they are needed.
        world: fingerprint of the world model; without one, nothing is remembered.
        judge: fingerprint of the judge, likewise.
        progress: called with the number of replayed episodes and their total.
    """
    content = digest(replays)
    facts = (REVISION, world, judge, content, sampler_steps, seed)
    known_by = hashlib.sha256(repr(facts).encode()).hexdigest() if world and judge else ""
    kept = read_replayed(run) if known_by else None
    names = {field.name for field in fields(Gates)}
    if kept is not None and kept.known_by == known_by and kept.gates.keys() == names:
        return Gates(**kept.gates)
    recordings = read_recordings(replays)
    rng = np.random.default_rng(seed)
    gates = run_gates(*models(), recordings, rng=rng, progress=progress)
    if known_by:
        write_replayed(run, ReplayedGates(known_by=known_by, recordings=content, gates=vars(gates)))
    return gates
