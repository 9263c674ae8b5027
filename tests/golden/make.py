"""Make golden files again, at the root: `python tests/golden/make.py KIND [CASE...]`.

KIND is one of runs, losses, demo, help; of losses, single cases may be named.

Do this only where a number was meant to change, and say in the commit why it did: a fault was
mended that the old number shows, a rule of training was changed on purpose, shipped weights were
replaced, an option was removed by decision. Never to get a refactoring past the tests: that a
refactoring changes none of these numbers is what they are for. Make the single cases that the
change concerns, and look at the difference.
"""

import os
import sys
from pathlib import Path

os.environ.update({"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "WORLDEVAL_BF16": "0"})
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]


def main(kind: str, *cases: str) -> None:
    """Work out the record and write it."""
    from tests.golden import hooks, stored

    if kind == "losses":
        kept = stored.read(kind) if cases else {}
        made = {case: hooks.LOSSES[case]() for case in cases or hooks.LOSSES}
        record = {**kept, **made}
    else:
        record = hooks.KINDS[kind]()
    print(stored.write(kind, record))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
