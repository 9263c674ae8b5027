# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false
"""Page: all imagined episodes, and one in detail, imagined above measured, frame by frame."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.components.v2 import component

from worldeval.axes import Array
from worldeval.errors import UserError
from worldeval.recipe import shipped
from worldeval.report.charts import over_time
from worldeval.report.film import RATE, open_film
from worldeval.report.filter import ALL, TRUST, VERDICTS, Choice, choose, orders, signal_label
from worldeval.report.strip import caption
from worldeval.report.theme import DARK, LIGHT
from worldeval.report.thumbnail import film_thumbnail, start_thumbnails
from worldeval.report.trace import (
    RobotPlace,
    Trace,
    action_steps,
    pose_names,
    read_place,
    read_trace,
)
from worldeval.report.verbs import run_verb
from worldeval.report.words import escaped
from worldeval.runs.episodes import EpisodeTable, filmed
from worldeval.runs.films import Filmstrip, read_moves
from worldeval.runs.origin import read_recipe
from worldeval.runs.paths import RunPaths

PAGE = 8  # episodes in the list
MOST_LINES = 8  # maximum number of lines in a chart
OUTCOME = {1.0: "success", 0.0: "failure"}
# Streamlit can only restart a video, at whole seconds. `count` changes when the slider is moved,
# but not when the page is redrawn, so that a playing video continues after a redraw.
SEEK = """
export default function ({ data }) {
  const video = document.querySelector("video[data-testid=stVideo]");
  if (!video || !data.count || video.dataset.sought === String(data.count)) return;
  video.dataset.sought = String(data.count);
  const stand = () => { video.pause(); video.currentTime = data.seconds; };
  if (video.readyState >= 1) stand();
  else video.addEventListener("loadedmetadata", stand, { once: true });
}
"""

run = st.session_state["run"]
paths = RunPaths(run.folder)
opened: EpisodeTable | None = st.session_state["episodes"]
strips: tuple[Filmstrip, ...] = st.session_state["strips"]
if opened is None:
    st.stop()
episodes: EpisodeTable = opened
theme = DARK if st.context.theme.type == "dark" else LIGHT


def chosen() -> Choice:
    """Read the filters above the list."""
    table = episodes.table
    policies, tasks, verdicts, trusts, order = st.columns(5)
    trust = [name for name, (signal, _) in TRUST.items() if signal in episodes.signals]
    verdict = list(VERDICTS)[: None if table["real"].notna().any() else 3]
    return Choice(
        policy=policies.selectbox(
            "Policy", [ALL, *sorted(table["policy"].unique())], key="of_policy"
        ),
        task=tasks.selectbox("Task", [ALL, *sorted(table["task"].unique())], key="of_task"),
        verdict=verdicts.selectbox("Verdict", [ALL, *verdict], key="of_verdict"),
        trust=trusts.selectbox("Trust", [ALL, *trust], key="of_trust"),
        order=order.selectbox("Order", orders(episodes), key="of_order"),
        filmed=st.toggle("Only episodes with a film strip", key="of_film"),
    )


def current(rows: pd.DataFrame, films: dict[str, Filmstrip]) -> int:
    """Return the row to show: the one selected last, or that of the link (`?episode=`).

    Without either, it is the first row that has a film strip.
    """
    if "episode" not in st.session_state:
        asked = st.query_params.get("episode", "")
        if asked and episodes.place(asked) is None:
            st.warning(f"There is no episode '{escaped(asked)}' in this run; showing the first.")
        st.session_state["episode"] = asked
    names = rows["id"].tolist()
    if st.session_state["episode"] not in names:
        st.session_state["episode"] = next((name for name in names if name in films), names[0])
    st.query_params["episode"] = st.session_state["episode"]
    return names.index(st.session_state["episode"])


def go(name: str) -> None:
    """Open an episode; called before the page is redrawn."""
    st.session_state["episode"] = name


def picked(names: list[str], key: str) -> None:
    """Open the row that was selected in the list."""
    rows = st.session_state[key]["selection"]["rows"]
    if rows:
        go(names[rows[0]])


def list_page(rows: pd.DataFrame, place: int, films: dict[str, Filmstrip]) -> None:
    """Draw one page of the list; thumbnails are read for this page only."""
    first = place // PAGE * PAGE
    shown = rows.iloc[first : first + PAGE]
    starts = paths.starts
    changed = starts.stat().st_mtime_ns if starts.is_file() else 0
    begins = start_thumbnails(starts, changed)
    pictures = []
    for name, start in zip(shown["id"], shown["start"], strict=True):
        try:
            strip = films.get(name)
            picture = film_thumbnail(paths.films, strip) if strip else begins.get(start, "")
        except UserError:  # reported when the episode is opened
            picture = ""
        pictures.append(picture)
    table = pd.DataFrame(
        {
            "": ["▶" if place - first == at else "" for at in range(len(shown))],
            "picture": pictures,
            "film": ["●" if name in films else "" for name in shown["id"]],
            "policy": shown["policy"].to_list(),
            "start": shown["start"].to_list(),
            "P(success)": shown["score"].to_list(),
            "measured": [OUTCOME.get(value, "") for value in shown["real"]],
            **{name: shown[name].to_list() for name in episodes.signals},
        }
    )
    if not any(pictures):
        table = table.drop(columns="picture")
    key = f"list {first} {hash(tuple(shown['id']))}"
    signals = {
        name: st.column_config.NumberColumn(signal_label(name), format="%.2f", width=96)
        for name in episodes.signals
    }
    st.dataframe(
        table,
        hide_index=True,
        row_height=56 if any(pictures) else None,
        height="content",
        column_config={
            "": st.column_config.TextColumn(width=24),
            "picture": st.column_config.ImageColumn(
                "frame",
                width=56,
                help="The last imagined frame if there is a film, else the start.",
            ),
            "film": st.column_config.TextColumn("film", width=36),
            "P(success)": st.column_config.ProgressColumn(
                format="%.2f", min_value=0, max_value=1, color="blue", width=92
            ),
            "measured": st.column_config.TextColumn(width=70),
            **signals,
        },
        on_select=lambda: picked(list(shown["id"]), key),
        selection_mode="single-row",
        key=key,
    )


def turn(names: list[str], place: int) -> None:
    """Draw the buttons, with shortcuts, that move between episodes and pages."""
    before, after, up, down, where = st.columns([3, 2, 4, 4, 5], vertical_alignment="center")
    for column, label, key, step in (
        (before, "Previous", "p", -1),
        (after, "Next", "n", 1),
        (up, "Page back", "Shift+P", -PAGE),
        (down, "Page on", "Shift+N", PAGE),
    ):
        to = (place + step) % len(names) if abs(step) == 1 else place + step
        column.button(
            label,
            shortcut=key,
            width="stretch",
            on_click=go,
            args=(names[min(max(to, 0), len(names) - 1)],),
            key=label,
        )
    pages = -(-len(names) // PAGE)
    where.text(f"{place + 1:,} of {len(names):,}, page {place // PAGE + 1:,} of {pages:,}")


def decode(name: str, *, real: bool) -> None:
    """Offer to render an episode without film strip, or to add its simulated side."""
    label = "Also run it in the simulator" if real else "Decode the frames"
    if st.button(label, icon=":material/movie:", key=f"decode {real}"):
        with st.spinner("Loading the world model in a separate process; this takes a few seconds."):
            try:
                words = ["film", str(run.folder), *(["--real"] if real else [])]
                run_verb(*words, names=[name])
            except UserError as error:
                st.error("The episode could not be rendered.")
                st.text(str(error))
                return
        st.rerun()


def simulator() -> dict[str, Any]:
    """Read the simulator settings from the run's protocol; empty if it names none."""
    try:
        truth = read_recipe(run.folder).get("truth")
    except UserError:
        return {}
    return truth if isinstance(truth, dict) else {}


def robot_place() -> RobotPlace | None:
    """Read where the robot is in a pose from the run's world model, if that still exists."""
    try:
        folder = read_recipe(run.folder).get("world")
    except UserError:
        return None
    return read_place(Path(shipped(folder))) if isinstance(folder, str) and folder else None


def steps_in_frame() -> int:
    """Return the robot steps per world frame, or 0 if the protocol does not state them."""
    k = simulator().get("k")
    return k if isinstance(k, int) else 0


@st.fragment
def by_frame(strip: Filmstrip | None, trace: Trace | None) -> None:
    """Draw the video, the still frame and the charts at the frame of the slider."""
    try:
        film = open_film(paths.films, strip) if strip else None
        moves = read_moves(paths.films, strip.moves) if strip and strip.moves else None
    except UserError as error:
        st.error("This film strip is damaged.")
        st.text(str(error))
        return
    count = max(len(film.stills) if film else 0, trace.frames if trace else 0)
    if count < 2:
        return
    moving, still = st.columns(2) if film else (st.container(), st.container())
    picture = still.empty()
    if film:
        moving.video(film.video, loop=True, autoplay=True, muted=True)
    shown_film = strip.imagined if strip else ""
    moment = st.slider(
        "World frame",
        0,
        count - 1,
        count - 1,
        key="moment",
        on_change=moved,
        args=(shown_film,),
        help="Sets the still frame and the cursor in every chart, and pauses the video there.",
    )
    moment = min(moment, count - 1)
    if film:
        seek(shown_film, moment)
        shown = film.stills[min(moment, len(film.stills) - 1)]
        picture.image(shown, width="stretch")
        still.caption(f"World frame {moment}, set by the slider below.")
    upper, lower = st.columns(2), st.columns(2)
    evidence = np.array(strip.evidence) if strip and strip.evidence else None
    if evidence is None and trace is not None:
        evidence = trace.evidence
    with upper[0]:
        if evidence is not None:
            st.caption("The judge's probability of success up to each frame")
            colours = {"judge": theme.imagined}
            chart({"judge": evidence}, moment, "P(success)", domain=(0, 1), colours=colours)
        else:
            st.caption("Decode the frames to see the judge's probability over time.")
    if trace is None:
        st.caption("The run folder does not contain the actions and poses of this episode.")
        return
    with upper[1]:
        name = st.selectbox(
            "Trust signal over time", list(trace.signals), key="signal", width="stretch"
        )
        chart({name: trace.signals[name]}, moment, "")
    with lower[0]:
        k, wide = steps_in_frame(), trace.actions.shape[1]
        step = wide // k if k and wide % k == 0 else wide
        steps = action_steps(trace.actions, step)
        real = action_steps(moves.actions, step) if moves else None
        unit = (trace.frames - 1) / max(len(steps), 1)
        numbers(steps, real, [f"action {i + 1}" for i in range(step)], moment, "action", unit=unit)
    with lower[1]:
        names = pose_names(trace.pose.shape[1], robot_place())
        numbers(trace.pose, moves.pose if moves else None, names, moment, "pose")
    if moves:
        st.caption(
            "Solid lines: imagined. Dashed lines: the same policy from the same start, in the "
            "simulator."
        )
    else:
        st.caption("Poses are predicted by the world model.")


def numbers(
    imagined: Array, real: Array | None, names: list[str], moment: int, title: str, **options: Any
) -> None:
    """Draw numbers over time, with the measured ones where these are known."""
    kept = names[:MOST_LINES]
    series = {name: imagined[:, i] for i, name in enumerate(kept)}
    if real is not None and real.shape[1] == imagined.shape[1]:
        options["real"] = {name: real[:, i] for i, name in enumerate(kept)}
    chart(series, moment, title, **options)
    if len(names) > len(kept):
        st.caption(f"Showing the first {len(kept)} of {len(names)} numbers.")


def moved(film: str) -> None:
    """Record that the slider was moved while this film was shown."""
    _, count = st.session_state.get("sought", ("", 0))
    st.session_state["sought"] = (film, count + 1)


def seek(film: str, moment: int) -> None:
    """Pause the video at the frame of the slider after the slider was moved."""
    of, count = st.session_state.get("sought", ("", 0))
    # Seek to the middle of a frame, because at its edge a browser may show the previous one.
    data = {"seconds": (moment + 0.5) / RATE, "count": count if of == film else 0}
    component("worldeval.seek", js=SEEK)(data=data, key="seek")


def chart(series: dict[str, Any], moment: int, title: str, **options: Any) -> None:
    """Draw numbers over time with the cursor."""
    spec = over_time(series, cursor=moment, theme=theme, title=title, **options)
    st.vega_lite_chart(spec, width="stretch")


st.header("Roll-outs")
if not len(episodes):
    st.info("This run has no finished roll-outs yet. They appear here while `worldeval rank` runs.")
    st.stop()
choice = chosen()
films = filmed(episodes, strips)
rows = choose(episodes, choice, with_film=frozenset(films))
if rows.empty:
    st.info("No roll-out matches. Widen the choice above.")
    st.stop()
place = current(rows, films)
list_page(rows, place, films)
turn(rows["id"].tolist(), place)

row = rows.iloc[place]
strip = films.get(row["id"])
wrong = row["real"] == row["real"] and (row["score"] >= 0.5) != bool(row["real"])
st.subheader(escaped(row["policy"]), divider="orange" if wrong else "gray")
told = Filmstrip(
    policy=row["policy"],
    task=row["task"],
    start=row["start"],
    seed=int(row["seed"]),
    probability=float(row["score"]),
    success=None if row["real"] != row["real"] else bool(row["real"]),
)
st.text(f"{row['task']}, start {row['start']}, seed {row['seed']}: {caption(told)}")
try:
    trace = (
        read_trace(paths.imagined, row["file"], int(row["row"]), place=robot_place())
        if row["file"]
        else None
    )
    if strip is not None and strip.truth is None and simulator():
        decode(row["id"], real=True)
    elif strip is None and row["file"]:
        st.caption("Only latents are stored; decode them to watch this episode.")
        decode(row["id"], real=False)
    by_frame(strip, trace)
except UserError as error:
    st.error("This roll-out is damaged.")
    st.text(str(error))
