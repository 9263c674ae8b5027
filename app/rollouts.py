# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false
"""Page: every imagined episode; one of them at a time, imagined above real, frame by frame."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.components.v2 import component

from worldeval.axes import Array
from worldeval.errors import UserError
from worldeval.report.charts import over_time
from worldeval.report.film import RATE, open_film
from worldeval.report.filter import ALL, TRUST, VERDICTS, Choice, choose, orders
from worldeval.report.strip import caption
from worldeval.report.theme import DARK, LIGHT
from worldeval.report.thumbnail import film_thumbnail, start_thumbnails
from worldeval.report.trace import Trace, action_steps, pose_names, read_trace
from worldeval.report.verbs import run_verb
from worldeval.report.words import escaped
from worldeval.runs.episodes import EpisodeTable, filmed
from worldeval.runs.films import Filmstrip, read_moves
from worldeval.runs.origin import read_recipe
from worldeval.runs.paths import RunPaths

PAGE = 8  # episodes in the list
HEIGHT = 384  # pixels of the still picture
MOST_LINES = 8  # numbers of an action that a chart takes
OUTCOME = {1.0: "success", 0.0: "failure"}
# Streamlit starts a video at whole seconds only, and anew. `count` tells a move of the slider from
# the page being drawn again, after which a film that plays goes on.
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
    """What the boxes above the list say."""
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
        filmed=st.toggle("Only those with pictures", key="of_film"),
    )


def current(rows: pd.DataFrame, films: dict[str, Filmstrip]) -> int:
    """Which of the chosen rows is open: the one last picked, or that of the link (`?episode=`).

    Where nothing says which, the first that has pictures.
    """
    if "episode" not in st.session_state:
        asked = st.query_params.get("episode", "")
        if asked and episodes.place(asked) is None:
            st.warning(f"There is no episode '{escaped(asked)}' in this run; here is the first.")
        st.session_state["episode"] = asked
    names = rows["id"].tolist()
    if st.session_state["episode"] not in names:
        st.session_state["episode"] = next((name for name in names if name in films), names[0])
    st.query_params["episode"] = st.session_state["episode"]
    return names.index(st.session_state["episode"])


def go(name: str) -> None:
    """Open an episode: called before the page is drawn anew."""
    st.session_state["episode"] = name


def picked(names: list[str], key: str) -> None:
    """Open the row that was picked in the list."""
    rows = st.session_state[key]["selection"]["rows"]
    if rows:
        go(names[rows[0]])


def list_page(rows: pd.DataFrame, place: int, films: dict[str, Filmstrip]) -> None:
    """One page of the list; pictures are read for it alone."""
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
        except UserError:  # said in full where the episode is opened
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
            "real": [OUTCOME.get(value, "") for value in shown["real"]],
            **{name: shown[name].to_list() for name in episodes.signals},
        }
    )
    if not any(pictures):
        table = table.drop(columns="picture")
    key = f"list {first} {hash(tuple(shown['id']))}"
    two = st.column_config.NumberColumn(format="%.2f")
    st.dataframe(
        table,
        hide_index=True,
        row_height=56 if any(pictures) else None,
        height="content",
        column_config={
            "": st.column_config.TextColumn(width=28),
            "picture": st.column_config.ImageColumn("last frame or start", width=64),
            "film": st.column_config.TextColumn("film", width=40),
            "P(success)": st.column_config.ProgressColumn(
                format="%.2f", min_value=0, max_value=1, color="blue"
            ),
            **dict.fromkeys(episodes.signals, two),
        },
        on_select=lambda: picked(list(shown["id"]), key),
        selection_mode="single-row",
        key=key,
    )


def turn(names: list[str], place: int) -> None:
    """The buttons, and keys, that go from episode to episode and from page to page."""
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
    """Offer to make pictures of an episode that has none, or none of its real side."""
    label = "Run it in the simulator too" if real else "Decode its pictures"
    if st.button(label, icon=":material/movie:", key=f"decode {real}"):
        with st.spinner("a few seconds: the world model is loaded in a process of its own"):
            try:
                words = ["film", str(run.folder), *(["--real"] if real else [])]
                run_verb(*words, names=[name])
            except UserError as error:
                st.error("It could not be done.")
                st.text(str(error))
                return
        st.rerun()


def simulator() -> dict[str, Any]:
    """What the run's protocol says of its simulator; empty where it names none."""
    try:
        truth = read_recipe(run.folder).get("truth")
    except UserError:
        return {}
    return truth if isinstance(truth, dict) else {}


def steps_in_frame() -> int:
    """The robot's own steps in a world frame; 0 where the protocol does not say."""
    k = simulator().get("k")
    return k if isinstance(k, int) else 0


@st.fragment
def by_frame(strip: Filmstrip | None, trace: Trace | None) -> None:
    """The film, the still picture and every chart, at the moment that the slider says."""
    try:
        film = open_film(paths.films, strip) if strip else None
        moves = read_moves(paths.films, strip.moves) if strip and strip.moves else None
    except UserError as error:
        st.error("This film strip is broken.")
        st.text(str(error))
        return
    count = max(len(film.stills) if film else 0, trace.frames if trace else 0)
    if count < 2:
        return
    moving, still = st.columns(2) if film else (st.container(), st.container())
    picture = still.empty()
    if film:
        moving.video(film.video, loop=True, autoplay=True, muted=True)
        halves = "Above: imagined. Below: real." if film.real else "Imagined."
        moving.caption(f"{halves} Views from left to right: {escaped(', '.join(film.views))}.")
    shown_film = strip.imagined if strip else ""
    moment = st.slider(
        "World frame",
        0,
        count - 1,
        count - 1,
        key="moment",
        on_change=moved,
        args=(shown_film,),
        help="Moves the still picture, the cursor in every chart, and the film, which then waits.",
    )
    moment = min(moment, count - 1)
    if film:
        seek(shown_film, moment)
        shown = film.stills[min(moment, len(film.stills) - 1)]
        scale = max(1, round(HEIGHT / shown.shape[0]))
        big = shown.repeat(scale, axis=0).repeat(scale, axis=1)
        picture.image(big, width="stretch")
        still.caption(f"World frame {moment}, as the slider below says.")
    upper, lower = st.columns(2), st.columns(2)
    evidence = np.array(strip.evidence) if strip and strip.evidence else None
    if evidence is None and trace is not None:
        evidence = trace.evidence
    with upper[0]:
        if evidence is not None:
            st.caption("Probability of success by each frame, as the judge says")
            colours = {"judge": theme.imagined}
            chart({"judge": evidence}, moment, "P(success)", domain=(0, 1), colours=colours)
        else:
            st.caption("The judge's probability over time is worked out with the pictures.")
    if trace is None:
        st.caption("Actions and poses of this episode are not in the run folder.")
        return
    with upper[1]:
        name = st.selectbox(
            "Signal of trust over time", list(trace.signals), key="signal", width="stretch"
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
        names = pose_names(trace.pose.shape[1])
        numbers(trace.pose, moves.pose if moves else None, names, moment, "pose")
    if moves:
        st.caption("Lines: in imagination. Dashes: the same policy from the same start, for real.")
    else:
        st.caption("Poses are those that imagination predicts.")


def numbers(
    imagined: Array, real: Array | None, names: list[str], moment: int, title: str, **options: Any
) -> None:
    """Some numbers over time, beside what they really were where that is known."""
    kept = names[:MOST_LINES]
    series = {name: imagined[:, i] for i, name in enumerate(kept)}
    if real is not None and real.shape[1] == imagined.shape[1]:
        options["real"] = {name: real[:, i] for i, name in enumerate(kept)}
    chart(series, moment, title, **options)
    if len(names) > len(kept):
        st.caption(f"The first {len(kept)} of {len(names)} numbers.")


def moved(film: str) -> None:
    """The slider was moved while this film was shown."""
    _, count = st.session_state.get("sought", ("", 0))
    st.session_state["sought"] = (film, count + 1)


def seek(film: str, moment: int) -> None:
    """Let the film stand at the slider's moment, once the slider was moved."""
    of, count = st.session_state.get("sought", ("", 0))
    # The middle of a frame's time: at its edge a browser may show the one before.
    data = {"seconds": (moment + 0.5) / RATE, "count": count if of == film else 0}
    component("worldeval.seek", js=SEEK)(data=data, key="seek")


def chart(series: dict[str, Any], moment: int, title: str, **options: Any) -> None:
    """Numbers over time with the cursor."""
    spec = over_time(series, cursor=moment, theme=theme, title=title, **options)
    st.vega_lite_chart(spec, width="stretch")


st.header("Roll-outs")
if not len(episodes):
    st.info("No roll-out of this run is done yet. They appear here as `worldeval rank` goes on.")
    st.stop()
choice = chosen()
films = filmed(episodes, strips)
rows = choose(episodes, choice, with_film=frozenset(films))
if rows.empty:
    st.info("No roll-out is of this kind. Widen the choice above.")
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
    trace = read_trace(paths.imagined, row["file"], int(row["row"])) if row["file"] else None
    if strip is not None and strip.truth is None and simulator():
        decode(row["id"], real=True)
    elif strip is None and row["file"]:
        st.caption("Its pictures are kept as latents.")
        decode(row["id"], real=False)
    by_frame(strip, trace)
except UserError as error:
    st.error("This roll-out is broken.")
    st.text(str(error))
