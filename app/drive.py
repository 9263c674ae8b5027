"""Page: drive a world model by hand. This is the only page that loads networks."""

from pathlib import Path
from typing import Any

import streamlit as st

from worldeval.errors import UserError
from worldeval.recipe import RECIPES
from worldeval.record import Start
from worldeval.report.charts import over_time
from worldeval.report.film import clip
from worldeval.report.places import find_worlds
from worldeval.report.theme import DARK, LIGHT
from worldeval.report.trace import pose_names, read_place
from worldeval.report.words import escaped
from worldeval.rollout.drive import Controls, Drive, Stick, controls_of
from worldeval.rollout.starts import read_starts
from worldeval.runs.paths import RunPaths
from worldeval.world.body import HAND
from worldeval.world.protocol import WorldSpec

# Key -> label and direction; the gripper is set by its slider.
KEYS = {
    "a": ("x -", {"x": -1.0}),
    "d": ("x +", {"x": 1.0}),
    "w": ("y +", {"y": 1.0}),
    "x": ("y -", {"y": -1.0}),
    "e": ("z +", {"z": 1.0}),
    "q": ("z -", {"z": -1.0}),
}
JUDGES = "judge.json"
MOST = 30  # maximum number of files of starts to read
SIDE = 512  # width of the newest frame in pixels, all views together

theme = DARK if st.context.theme.type == "dark" else LIGHT


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
    from worldeval.judge.judge import load_judge

    return load_judge(Path(folder))


@st.cache_resource(show_spinner="reading the starts", max_entries=MOST)
def starts_of(path: str, changed: int) -> list[Start]:
    """Read the starts in a file."""
    return read_starts(Path(path))


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


def begin(world: Any, controls: Controls, start: Start) -> Drive:
    """Return the current episode; selecting another start begins a new one."""
    name = (id(world), start.id)
    if st.session_state.get("driven") != name:
        st.session_state["drive"] = Drive(world, start, controls, seed=start.seed)
        st.session_state["driven"] = name
    return st.session_state["drive"]


def steer(drive: Drive) -> None:
    """Draw the sliders and keys; each key press imagines one chunk."""
    count = st.slider("World frames per chunk", 1, 8, 4, key="chunk")
    speed = st.slider("Step size per key press", 0.1, 1.0, 1.0, 0.1, key="speed")
    grip = st.slider("Gripper", -1.0, 1.0, -1.0, 0.1, key="grip")
    wanted: Stick | None = None
    rows = [st.columns(3), st.columns(3)]
    # Arranged as on a keyboard: q w e in the upper row, a x d in the lower one.
    for column, key in zip([*rows[0], *rows[1]], "qweaxd", strict=True):
        label, push = KEYS[key]
        if column.button(label, shortcut=key, key=f"key {key}", width="stretch"):
            wanted = Stick(**{axis: speed * way for axis, way in push.items()}, gripper=grip)
    with st.expander("Combine directions"):
        x, y, z = (st.slider(axis, -1.0, 1.0, 0.0, 0.1, key=f"stick {axis}") for axis in "xyz")
    if st.button("Imagine a chunk", shortcut="i", type="primary", key="go", width="stretch"):
        wanted = Stick(x=x, y=y, z=z, gripper=grip)
    undo, again = st.columns(2)
    if undo.button("Undo", shortcut="u", key="undo", width="stretch"):
        drive.undo()
    if again.button("Begin again", shortcut="b", key="again", width="stretch"):
        del st.session_state["driven"]
        st.rerun()
    if wanted is not None:
        with st.spinner("imagining"):
            drive.go(wanted, count)


def judged(drive: Drive, folder: Path | None) -> None:
    """Show the judge's probability of success for the episode so far."""
    if folder is None:
        st.caption("There is no judge beside this world model, so success cannot be predicted.")
        return
    if len(drive) < 2:
        return  # no frame is imagined yet
    try:
        judge = judge_of(str(folder), changed(folder / JUDGES))
        probability = judge.over_time([drive.rollout])[0]
    except (UserError, RuntimeError, ValueError) as error:  # trained on latents of another world
        st.caption("The judge beside this world model was trained for another world model.")
        st.text(str(error))
        return
    st.metric("P(success) by the judge", f"{probability[-1]:.2f}")
    colours = {"judge": theme.imagined}
    spec = over_time(
        {"judge": probability},
        cursor=len(drive) - 1,
        theme=theme,
        title="P(success)",
        domain=(0, 1),
        colours=colours,
    )
    st.vega_lite_chart(spec, width="stretch")


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
first = next((i for i, name in enumerate(names) if name.startswith("shipped")), 0)
name = which.selectbox("World model", names, index=first)
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
    drive = begin(world, controls, start)
    picture, stick = st.columns([3, 2])
    with stick:
        if controls.body.place != HAND or not world.spec.metres:
            moved = ", ".join(str(axis.pose + 1) for axis in controls.axes)
            unit = f" ({world.spec.place_unit})" if world.spec.place_unit else ""
            st.caption(f"x, y and z move these numbers of the pose, in order: {moved}{unit}.")
        steer(drive)
    with picture:
        frames = drive.frames
        newest = [frames[view][-1] for view in frames]
        scale = max(1, SIDE // max(1, sum(image.shape[1] for image in newest)))
        for column, view, image in zip(st.columns(len(newest)), frames, newest, strict=True):
            shown = image.repeat(scale, axis=0).repeat(scale, axis=1)
            column.image(shown, width="stretch", caption=escaped(view))
        imagined = len(drive) - 1
        st.caption(f"{imagined} imagined frames." if imagined else "The start: a recorded frame.")
        if imagined:
            st.video(clip(frames, fps=8.0), loop=True, autoplay=True, muted=True)
        judged(drive, judge_folder(worlds[name]))
    with st.expander("Predicted pose"):
        names = pose_names(drive.pose.shape[1], read_place(worlds[name]))
        series = {label: drive.pose[:, i] for i, label in enumerate(names)}
        spec = over_time(series, cursor=imagined, theme=theme, title="pose")
        st.vega_lite_chart(spec, width="stretch")
except UserError as error:
    st.error("This world model cannot be driven from this start.")
    st.text(str(error))
