"""The recordings that `rank metaworld` replays, from recorded near misses and wider failures.

    worldeval data collect metaworld-replay --out runs/replay
    python benchmarks/replays.py runs/replay --out evaluation/metaworld/replays.h5

The starts beside them, `evaluation/metaworld/starts.h5`, are those that `rank metaworld --truth`
writes into its run.
"""

import argparse
from pathlib import Path

import numpy as np

from worldeval.data.source import open_source
from worldeval.data.table import RecordedEpisodes
from worldeval.rollout.starts import recordings, write_recordings


def main() -> None:
    """Cut the recordings to the horizon and write them to one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--horizon", type=int, default=30)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    recorded = RecordedEpisodes([open_source(args.data)])
    found = recordings(recorded, np.arange(len(recorded)), args.horizon)
    write_recordings(args.out, found)
    failures = [each for each in found if not each.success]
    near = sum(each.near_miss for each in failures)
    print(f"{len(found)} recordings, {len(failures)} failures, {near} near misses: {args.out}")


if __name__ == "__main__":
    main()
