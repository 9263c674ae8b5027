"""How quickly the viewer answers on ten thousand episodes, and how much memory it takes.

    python benchmarks/viewer.py

Makes a run of 10 policies and 1,000 starts, small arrays and no pictures, and opens each page that
reads episodes in a process of its own. Four times are distinguished, each by the clock and by the
processor (what a busy machine does not change):

    server  Streamlit is loaded: what `worldeval view` does before it answers anybody
    first   the page is the first that is asked of it: it loads what it needs and reads the run
    unread  the same where another, small run was looked at before: the run alone is read
    next    a click: the next page of the list

Memory is the peak of the whole process, with Streamlit. With `--demo RUN`, every page is opened on
that run too, and `worldeval --help`, a bundle and driving in the shipped world model are timed, all
on one thread. Writes benchmarks/results/viewer.json.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from worldeval.files import read_json, write_json

ROOT = Path(__file__).parent.parent
RESULT = Path(__file__).parent / "results" / "viewer.json"
PAGES = ("rollouts.py", "ranking.py", "compare.py")
SECONDS, MEBIBYTES = 2.0, 500.0  # what the page of roll-outs must stay under
DEMO_PAGES = (
    *PAGES, "labelling.py", "gates.py", "exporting.py", "runs.py",
)  # fmt: skip
FIRST, CLICK, HELP = 1.5, 0.5, 0.5  # CPU-seconds on the demo
FRAMES = 60  # driven
BIG, SMALL = "big", "small"  # folders of runs, one run each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policies", type=int, default=10)
    parser.add_argument("--starts", type=int, default=1000, help="Of each policy.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--demo", type=Path, help="A finished run of `make demo`.")
    parser.add_argument("--only-demo", action="store_true", help="Keep all other numbers.")
    parser.add_argument("--page", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--loaded", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.page:
        print(json.dumps(measured(args.page, args.folder, loaded=args.loaded)))
        return
    if args.demo:
        kept = read_json(RESULT) if RESULT.is_file() else {}
        write_json(RESULT, {**kept, "demo": on_demo(args.demo)})
        if args.only_demo:
            return
    sys.path.insert(0, str(ROOT))  # the run is made by what the tests use
    from tests.support.many_episodes import many_episodes

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        many_episodes(
            folder / BIG / "run", policies=args.policies, starts=args.starts, seed=args.seed
        )
        many_episodes(folder / SMALL / "run", policies=2, starts=10, seed=args.seed)
        rows = {}
        for page in PAGES:
            first = in_a_process(page, folder)
            unread = in_a_process(page, folder, "--loaded")
            rows[page] = {**first, "unread": unread["first"]}
            print(page, json.dumps(rows[page]), flush=True)
    found = rows["rollouts.py"]
    kept = read_json(RESULT) if RESULT.is_file() else {}
    write_json(
        RESULT,
        {
            **kept,
            "command": "python benchmarks/viewer.py",
            "episodes": args.policies * args.starts,
            "seed": args.seed,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "target": {"seconds": SECONDS, "mebibytes": MEBIBYTES},
            "pages": rows,
        },
    )
    for name in ("first", "unread", "next"):
        took = found[name]
        met = "within" if max(took.values()) < SECONDS else "beyond"
        print(f"roll-outs, {name}: {met} {SECONDS:g} s ({took['clock']} s, CPU {took['cpu']} s)")
    met = "within" if found["peak_mebibytes"] < MEBIBYTES else "beyond"
    print(f"memory: {met} {MEBIBYTES:g} MiB ({found['peak_mebibytes']} MiB)")


def on_demo(run: Path) -> dict[str, Any]:
    """Seconds on a run of `make demo`: every page first and redrawn, and what needs no page."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        shutil.copytree(run, folder / BIG / "run", symlinks=True)
        pages = {page: in_a_process(page, folder) for page in DEMO_PAGES}
        command = [sys.executable, "-m", "worldeval"]
        found = {
            "target": {"first": FIRST, "click": CLICK, "help": HELP},
            "load_average": round(os.getloadavg()[0], 1),
            "pages": pages,
            "clicked": clicked(folder / BIG),
            "help": child([*command, "--help"]),
            "bundle": child(
                [*command, "view", str(run), "--bundle", str(folder / "site"), "--json"]
            ),
            "bundle_megabytes": round(
                sum(each.stat().st_size for each in (folder / "site").rglob("*") if each.is_file())
                / 2**20,
                2,
            ),
            "drive": driven(),
        }
    print(json.dumps(found), flush=True)
    return found


def clicked(runs: Path) -> dict[str, dict[str, float]]:
    """Seconds until another page is there, in the order of a visit that began with the ranking."""
    test = looked_at("ranking.py", runs)
    test.run()
    found = {}
    for page in DEMO_PAGES:
        if page != "ranking.py":
            test.switch_page(page)
            found[page] = timed(test.run)
            assert not test.exception, test.exception[0].message
    return found


def child(command: list[str]) -> dict[str, float]:
    """Seconds of a command, with all that it starts."""
    clock, before = perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"clock": round(perf_counter() - clock, 3), "cpu": round(cpu, 3)}


def driven() -> dict[str, Any]:
    """Frames a second of driving: what the server does for a frame, on one thread."""
    import torch

    from worldeval.judge.load import load_judge
    from worldeval.rollout.controls import controls_of
    from worldeval.rollout.drive import Drive
    from worldeval.rollout.starts import read_starts
    from worldeval.serve.drive import DriveSession
    from worldeval.world.load import load_world, read_card

    torch.set_num_threads(1)
    folder = ROOT / "models/latent"
    world = load_world(folder)
    controls = controls_of(world.spec, read_card(folder)["recipe"].actuation)
    start = read_starts(ROOT / "evaluation/metaworld/starts.h5")[0]
    session = DriveSession(
        Drive(world, start, controls, seed=0), judge=load_judge(ROOT / "models/judge")
    )

    def go() -> None:
        for frame in range(1, FRAMES + 1):
            session.answer({"do": "step", "push": [0.3]})
            if frame % 8 == 0:
                session.answer({"do": "judge"})

    go()  # what is loaded at the first frame
    session.answer({"do": "back", "at": 0})
    took = timed(go)
    return {
        "frames": FRAMES,
        **took,
        "frames_per_cpu_second": round(FRAMES / took["cpu"], 1),
        "frames_per_second": round(FRAMES / took["clock"], 1),
    }


def in_a_process(page: str, folder: Path, *words: str) -> dict[str, Any]:
    """What `measured` says in a fresh one."""
    command = [sys.executable, __file__, "--page", page, "--folder", str(folder), *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measured(page: str, folder: Path, *, loaded: bool) -> dict[str, Any]:
    """Open the viewer at a page, go on by one click, and say what it took.

    With `loaded`, the same page of a small run is looked at before.
    """
    found: dict[str, Any] = {"server": timed(load)}
    if loaded:
        looked_at(page, folder / SMALL).run()
    test = looked_at(page, folder / BIG)
    found["first"] = timed(test.run)
    assert not test.exception, test.exception[0].message
    assert test.header, f"{page} shows nothing"
    turned = test.button(key="Page on").click() if page == "rollouts.py" else test
    found["next"] = timed(turned.run)
    assert not test.exception, test.exception[0].message
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**found, "peak_mebibytes": round(peak / 1024, 1)}


def load() -> None:
    import streamlit.testing.v1  # noqa: F401


def looked_at(page: str, runs: Path) -> Any:
    """A session that is about to ask for a page, as a link to it does."""
    from streamlit.testing.v1 import AppTest

    os.environ["WORLDEVAL_RUNS"] = str(runs)
    test = AppTest.from_file(str(ROOT / "app/main.py"), default_timeout=600)
    return test if page == "ranking.py" else test.switch_page(page)


def timed(action: Callable[[], object]) -> dict[str, float]:
    """Seconds by the clock, and of the processor by this process."""
    clock, cpu = perf_counter(), process_time()
    action()
    return {"clock": round(perf_counter() - clock, 3), "cpu": round(process_time() - cpu, 3)}


if __name__ == "__main__":
    main()
