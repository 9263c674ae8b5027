"""Page: drive a world model by hand. This is the only page that loads networks.

Streamlit redraws a whole page for every click, which is too slow for held keys. Here it only
chooses the world model and the start; the driving itself is `drive.js`, which talks to the world
model through a websocket of this process.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2 import component

from worldeval.errors import UserError
from worldeval.recipe import RECIPES, shipped
from worldeval.record import Start
from worldeval.report.places import find_policies, find_worlds
from worldeval.report.words import escaped
from worldeval.rollout.controls import Controls, controls_of
from worldeval.rollout.drive import Drive
from worldeval.rollout.starts import read_starts
from worldeval.runs.origin import read_recipe
from worldeval.runs.paths import RunPaths
from worldeval.serve.drive import DriveSession
from worldeval.serve.drive_recording import DriveRecorder
from worldeval.serve.drive_server import DriveServer
from worldeval.world.protocol import WorldSpec

JUDGES = "judge.json"
MOST = 30  # maximum number of files of starts to read
REPLAN = 2  # world frames between the queries of a policy, where the run's protocol names none
HERE = Path(__file__).parent


@st.cache_resource(show_spinner=False)
def server() -> DriveServer:
    """Start the websocket through which pages drive."""
    return DriveServer(int(os.environ.get("WORLDEVAL_DRIVE_PORT") or 0))


@st.cache_resource(show_spinner="loading the world model", max_entries=2)
def world_of(folder: str, changed: int) -> tuple[Any, Controls]:
    """Load a world model and its controls."""
    from worldeval.world.load import load_world, read_card

    world = load_world(Path(folder))
    moves = getattr(read_card(Path(folder))["recipe"], "actuation", None)
    controls = controls_of(world.spec, moves)
    return world, controls


@st.cache_resource(show_spinner="loading the judge", max_entries=2)
def judge_of(folder: str, changed: int) -> Any:
    """Load the judge that was trained on this world model."""
    from worldeval.judge.load import load_judge

    return load_judge(Path(folder))


@st.cache_resource(show_spinner="reading the starts", max_entries=MOST)
def starts_of(path: str, changed: int) -> list[Start]:
    """Read the starts in a file."""
    return read_starts(Path(path))


@st.cache_data(show_spinner=False, ttl=60)
def policies_of(root: str) -> dict[str, str]:
    """Find the checkpoints in the folder of runs, and those shipped with the package."""
    return {name: str(folder) for name, folder in find_policies([Path(root)]).items()}


def loaded(folder: str) -> Any:
    """Load a policy."""
    from worldeval.policy.load import load_policy

    return load_policy(folder)


def start_files() -> dict[str, Path]:
    """Find files of starts: of the selected run, the other runs, and the package."""
    chosen = st.session_state["run"]
    sound = [run for run in st.session_state["runs"] if run.status != "broken"]
    sound.sort(key=lambda run: chosen is None or run.name != chosen.name)
    found = {run.name: RunPaths(run.folder).starts for run in sound}
    found = {name: path for name, path in found.items() if path.is_file()}
    for path in sorted((RECIPES / "evaluation").rglob("starts.h5")):
        found[f"shipped: {path.parent.name}"] = path
    return found


def fitting_starts(files: dict[str, Path], spec: WorldSpec) -> dict[str, list[Start]]:
    """Select the starts whose task the world model knows; files without any are omitted."""
    found = {}
    for name, path in list(files.items())[:MOST]:
        own = [start for start in starts_of(str(path), changed(path)) if spec.knows(start.task)]
        if own:
            found[name] = own
    return found


def judge_folder(world: Path) -> Path | None:
    """Find a judge in the world model's folder or beside it (`../judge`)."""
    places = (world / "judge", world.parent / "judge", world.parent.parent / "judge")
    return next((place for place in places if (place / JUDGES).is_file()), None)


def changed(path: Path) -> int:
    """Return the modification time of a file."""
    return path.stat().st_mtime_ns


def first_world(worlds: dict[str, Path]) -> int:
    """Return the place of the selected run's world model, else of the shipped one."""
    run = st.session_state["run"]
    try:
        asked = read_recipe(run.folder).get("world") if run else None
    except UserError:
        asked = None
    places = list(worlds.values())
    if isinstance(asked, str) and asked:
        wanted = Path(shipped(asked)).resolve()
        for number, place in enumerate(places):
            if place.resolve() == wanted:
                return number
    return next((i for i, name in enumerate(worlds) if name.startswith("shipped")), 0)


def replan_every() -> int:
    """Return how often the selected run's protocol asks its policies."""
    run = st.session_state["run"]
    try:
        asked = read_recipe(run.folder).get("replan_every") if run else None
    except UserError:
        return REPLAN
    return asked if isinstance(asked, int) and asked > 0 else REPLAN


def fitting_judge(world: Any, start: Start, folder: Path | None) -> Any:
    """Return the judge beside the world model, if it can judge this world model's episodes."""
    if folder is None:
        st.caption("There is no judge beside this world model, so success cannot be predicted.")
        return None
    try:
        judge = judge_of(str(folder), changed(folder / JUDGES))
        judge.over_time([Drive(world, start, controls, seed=start.seed).rollout])
    except (UserError, RuntimeError, ValueError) as error:  # trained on latents of another world
        st.caption("The judge beside this world model was trained for another world model.")
        st.text(str(error))
        return None
    return judge


def address(name: str, folder: Path, start: Start) -> str:
    """Return the address of the current episode; selecting another start begins a new one."""
    key = (str(folder), changed(folder / "world.json"), start.id)
    if st.session_state.get("driven", ("",))[0] != key:
        root = st.session_state["root"]
        beside = judge_folder(folder)
        judge = fitting_judge(world, start, beside)
        found = policies_of(str(root))
        offered: dict[str, Callable[[], Any]] = {
            each: partial(loaded, place) for each, place in found.items()
        }
        record = None
        if root.is_dir() and os.access(root, os.W_OK):
            own = name.removeprefix("shipped: ")
            record = DriveRecorder(
                root, folder, name=own, judge=str(beside) if judge is not None else ""
            )
        session = DriveSession(
            Drive(world, start, controls, seed=start.seed),
            judge=judge,
            policies=offered,
            replan_every=replan_every(),
            record=record,
        )
        st.session_state["driven"] = (key, server().offer(session))
    return st.session_state["driven"][1]


st.header("Drive")
worlds = find_worlds([st.session_state["root"]]) if st.session_state["root"].is_dir() else {}
worlds = worlds or find_worlds([])
files = start_files()
if not worlds or not files:
    st.info(
        "Driving needs a trained world model (made by `worldeval train`) and a file of starts "
        "(starts.h5, written by `worldeval rank`) in this folder."
    )
    st.stop()
which, where, task_box, start_box = st.columns(4)
names = list(worlds)
name = which.selectbox("World model", names, index=first_world(worlds))
try:
    world, controls = world_of(str(worlds[name]), changed(worlds[name] / "world.json"))
    fitting = fitting_starts(files, world.spec)
    if not fitting:
        st.warning("This world model was not trained on the task of any start. Choose another one.")
        st.stop()
    starts = fitting[where.selectbox("Starts of", list(fitting))]
    task = task_box.selectbox("Task", sorted({start.task for start in starts}))
    own = {start.id: start for start in starts if start.task == task}
    start = own[start_box.selectbox("Start", list(own))]
    drawn = component(
        "worldeval.drive",
        html=(HERE / "drive.html").read_text(encoding="utf-8"),
        css=(HERE / "drive.css").read_text(encoding="utf-8"),
        js=(HERE / "drive.js").read_text(encoding="utf-8"),
    )
    drawn(data={"address": address(name, worlds[name], start)}, key="drive")
    st.caption(
        "The start is a recorded frame. Trust is how well the world model's tokenizer reproduces "
        "the newest frame, relative to the start: it falls as imagination leaves what was "
        f"recorded. Views from left to right: {escaped(', '.join(world.spec.views))}."
    )
except UserError as error:
    st.error("This world model cannot be driven from this start.")
    st.text(str(error))
