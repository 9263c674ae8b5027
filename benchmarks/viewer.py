"""How quickly the viewer answers on ten thousand episodes, and how much memory it takes.

    python benchmarks/viewer.py

Makes a run of 10 policies and 1,000 starts, small arrays and no pictures, and opens the pages
that read episodes in a fresh process: the first answer reads the run, the second is what a click
costs. Seconds are of the clock and of the processor; memory is the peak of the whole process, with
Streamlit. Writes benchmarks/results/viewer.json.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from worldeval.run import write_json

ROOT = Path(__file__).parent.parent
RESULT = Path(__file__).parent / "results" / "viewer.json"
PAGES = ("rollouts.py", "ranking.py", "compare.py")
SECONDS, MEBIBYTES = 2.0, 500.0  # what the page of roll-outs must stay under


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policies", type=int, default=10)
    parser.add_argument("--starts", type=int, default=1000, help="Of each policy.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.page:
        print(json.dumps(measured(args.page)))
        return
    sys.path.insert(0, str(ROOT))  # the run is made by what the tests use
    from tests.support.many_episodes import many_episodes

    with tempfile.TemporaryDirectory() as folder:
        many_episodes(
            Path(folder) / "big", policies=args.policies, starts=args.starts, seed=args.seed
        )
        environment = {**os.environ, "WORLDEVAL_RUNS": folder}
        rows = {}
        for page in PAGES:
            command = [sys.executable, __file__, "--page", page]
            done = subprocess.run(
                command, env=environment, check=True, capture_output=True, text=True
            )
            rows[page] = json.loads(done.stdout.splitlines()[-1])
            print(page, json.dumps(rows[page]))
    found = rows["rollouts.py"]
    write_json(
        RESULT,
        {
            "command": "python benchmarks/viewer.py",
            "episodes": args.policies * args.starts,
            "seed": args.seed,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "target": {"seconds": SECONDS, "mebibytes": MEBIBYTES},
            "pages": rows,
        },
    )
    met = found["next_cpu_seconds"] < SECONDS and found["peak_mebibytes"] < MEBIBYTES
    print(f"roll-outs: {'within' if met else 'beyond'} {SECONDS:g} s and {MEBIBYTES:g} MiB")


def measured(page: str) -> dict[str, Any]:
    """Open the viewer at a page, go on by one click, and say what it took."""
    from streamlit.testing.v1 import AppTest

    test = AppTest.from_file(str(ROOT / "app/main.py"), default_timeout=600)
    clock, cpu = perf_counter(), process_time()
    test.run()
    if page != "ranking.py":
        test.switch_page(page).run()
    first = (perf_counter() - clock, process_time() - cpu)
    assert not test.exception, test.exception[0].message
    clock, cpu = perf_counter(), process_time()
    if page == "rollouts.py":
        test.button(key="Page on").click().run()
    else:
        test.run()
    following = (perf_counter() - clock, process_time() - cpu)
    assert not test.exception, test.exception[0].message
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "first_seconds": round(first[0], 3),
        "first_cpu_seconds": round(first[1], 3),
        "next_seconds": round(following[0], 3),
        "next_cpu_seconds": round(following[1], 3),
        "peak_mebibytes": round(peak / 1024, 1),
    }


if __name__ == "__main__":
    main()
