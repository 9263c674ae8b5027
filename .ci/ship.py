r"""Put trained weights, starts and recordings where the package ships them. For maintainers.

    python .ci/ship.py runs/world/latent runs/judge runs/policies/test runs/data/replay

Copies only what is needed to imagine, checks that all weights stay within 16 MiB, and writes the
demo's starts (from the simulator) and the recordings of the replay gate. Afterwards, make the
passport that ships with them, whose rates stay those of the development policies:

    worldeval rank metaworld --truth --out runs/demo
    worldeval passport make runs/demo --keep-rates --starts held-out.h5 \
        --card datasets/metaworld.yaml
"""

import shutil
import sys
from pathlib import Path

import numpy as np

from worldeval import recipe as recipes
from worldeval.data.table import read_table
from worldeval.rollout.starts import (
    recordings,
    simulated_starts,
    write_recordings,
    write_starts,
)

LIMIT = 16 * 2**20
# Chosen by name before any of them was tried: a first and a last step of most lineages.
SHIPPED = (
    "bc-1/step-1000", "bc-10/step-130", "bc-10/step-1300", "bc-all/step-80", "bc-all/step-250",
    "bc-all/step-700", "bc-all/step-2400", "bc-biased/step-900", "bc-blind/step-700",
    "bc-displaced/step-900", "bc-noisy/step-900", "bc-oneview/step-900", "bc-slow/step-1100",
    "flow-all/step-400", "flow-all/step-2000", "flow-interrupted/step-1200",
)  # fmt: skip


def main() -> None:
    world, judge, policies, replay = map(Path, sys.argv[1:5])
    for source, target, names in (
        (
            world,
            Path("models/latent"),
            ("world.json", "tokenizer.safetensors", "dynamics.safetensors"),
        ),
        (judge, Path("models/judge"), ("judge.json", "judge.safetensors", "passport.json")),
    ):
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(source / name, target / name)
    for name in SHIPPED:
        target = Path("models/policies-test") / name
        target.mkdir(parents=True, exist_ok=True)
        for file in ("policy.json", "policy.safetensors"):
            shutil.copyfile(policies / name / file, target / file)
    weights = sum(path.stat().st_size for path in Path("models").rglob("*.safetensors"))
    print(f"{weights / 2**20:.2f} MiB of weights")
    if weights > LIMIT:
        sys.exit(f"more than {LIMIT / 2**20:.0f} MiB of weights")
    protocol = recipes.load("metaworld", "protocol").config
    seeds = range(protocol.first_seed, protocol.first_seed + protocol.starts)
    starts = simulated_starts(protocol.tasks, list(seeds), protocol.truth, jobs=2)
    write_starts(Path("evaluation/metaworld/starts.h5"), starts)
    shards = read_table(replay)
    recorded = recordings(shards, np.arange(len(shards)), protocol.horizon)
    write_recordings(Path("evaluation/metaworld/replays.h5"), recorded)


if __name__ == "__main__":
    main()
