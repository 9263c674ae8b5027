# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false
"""Page: a dataset with its checks, contact sheet and episodes."""

import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from worldeval.data.check.check import check
from worldeval.data.contact_sheet import contact_sheet
from worldeval.data.finding import DataFinding
from worldeval.data.source import Source, open_source
from worldeval.data.summary import DatasetSummary, summarise
from worldeval.errors import UserError
from worldeval.report.charts import over_time
from worldeval.report.film import clip
from worldeval.report.places import find_datasets
from worldeval.report.theme import DARK, LIGHT

LONGEST = 400  # maximum number of frames in the video of an episode
MOST_LINES = 8
SUCCESS = {True: "success", False: "failure", None: "unknown"}
MARKS = {"error": "harmful", "warning": "warning", "note": "note"}

theme = DARK if st.context.theme.type == "dark" else LIGHT


@st.cache_resource(show_spinner="opening the dataset", max_entries=4)
def source_of(path: str, changed: int) -> Source:
    """Open a dataset; `changed` is the modification time of its folder."""
    return open_source(path)


@st.cache_data(show_spinner="reading the dataset", max_entries=8)
def summary_of(path: str, changed: int) -> DatasetSummary:
    """Summarise a dataset."""
    return summarise(source_of(path, changed))


@st.cache_data(show_spinner="drawing the contact sheet", max_entries=8)
def sheet_of(path: str, changed: int) -> bytes:
    """Draw the contact sheet as PNG."""
    with tempfile.TemporaryDirectory() as folder:
        return contact_sheet(source_of(path, changed), Path(folder) / "sheet.png").read_bytes()


@st.cache_data(show_spinner=False, max_entries=8)
def findings_of(path: str, changed: int, pictures: bool) -> list[DataFinding]:
    """Run `worldeval data check` and return its findings."""
    bar = st.progress(0.0, "checking")
    found = check(
        source_of(path, changed),
        pictures=pictures,
        progress=lambda done, total: bar.progress(done / total, f"{done:,} of {total:,} episodes"),
    )
    bar.empty()
    return found


@st.cache_data(show_spinner="reading the frames", max_entries=8)
def video_of(path: str, changed: int, index: int) -> bytes:
    """Encode all views of an episode as mp4."""
    source = source_of(path, changed)
    rows = np.arange(min(source.heads[index].length, LONGEST))
    frames = {view: source.frames(index, view, rows) for view in source.spec.views}
    return clip(frames, fps=source.spec.fps)


def at_a_glance(summary: DatasetSummary) -> None:
    """Show counts, views and value ranges."""
    facts = st.columns(5)
    facts[0].metric("Episodes", f"{summary.episodes:,}")
    facts[1].metric("Frames", f"{summary.frames:,}")
    facts[2].metric("Frames per second", f"{summary.fps:g}")
    facts[3].metric("Tasks", f"{len(summary.tasks):,}")
    facts[4].metric("Successful", f"{summary.success['true']:,}")
    views = ", ".join(f"{name} {h} x {w}" for name, (h, w) in summary.views.items())
    st.text(f"{summary.format}. Views: {views or 'none'}.")
    unknown = summary.success["unknown"]
    if unknown:
        st.text(f"{summary.success['false']:,} failures, {unknown:,} with unknown success.")
    with st.expander("Tasks and value ranges"):
        tasks = [{"task": name or "(no text)", "episodes": n} for name, n in summary.tasks.items()]
        st.dataframe(pd.DataFrame(tasks), hide_index=True)
        ranges = [{"of": "action", **asdict(row)} for row in summary.action]
        ranges += [{"of": "pose", **asdict(row)} for row in summary.pose]
        st.dataframe(pd.DataFrame(ranges), hide_index=True)


def checks(path: str, changed: int) -> None:
    """Check the dataset on request, because this reads every episode."""
    st.subheader("Checks")
    pictures = st.toggle("Also check every frame", value=False)
    if st.button("Check the dataset", icon=":material/rule:"):
        st.session_state["checked"] = (path, changed, pictures)
    if st.session_state.get("checked", ("",))[0] != path:
        st.caption(
            "Finds problems that would harm training, such as irregular frame rates, frozen "
            "cameras or angles that wrap around."
        )
        return
    found = findings_of(*st.session_state["checked"])
    harmful = sum(finding.severity == "error" for finding in found)
    if harmful:
        st.error(f"{harmful} of {len(found)} findings would harm training.")
    else:
        st.success(f"No finding would harm training; {len(found)} in total.")
    if found:
        rows = [
            {
                "severity": MARKS[finding.severity],
                "code": finding.code,
                "episode": finding.episode or "all",
                "field": finding.field,
                "finding": finding.text,
            }
            for finding in found
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True)


def episodes(source: Source, path: str, changed: int) -> None:
    """Show the list of episodes and the selected one."""
    st.subheader("Episodes")
    heads = pd.DataFrame(
        {
            "id": [head.id for head in source.heads],
            "task": [head.task for head in source.heads],
            "frames": [head.length for head in source.heads],
            "success": [SUCCESS[head.success] for head in source.heads],
            "source": [head.source for head in source.heads],
            "split": [head.split for head in source.heads],
        }
    )
    picked = st.dataframe(
        heads, hide_index=True, height=280, on_select="rerun", selection_mode="single-row", key=path
    )
    chosen = picked["selection"]["rows"]
    index = chosen[0] if chosen and chosen[0] < len(source.heads) else 0
    head = source.heads[index]
    st.text(f"{head.id}: {head.task or '(no text)'}, {head.length} frames, {SUCCESS[head.success]}")
    if source.spec.views:
        st.video(video_of(path, changed, index), loop=True, muted=True)
        if head.length > LONGEST:
            st.caption(f"The first {LONGEST} frames.")
    rows = source.rows(index)
    moment = st.slider("Frame", 0, max(head.length - 1, 1), 0)
    left, right = st.columns(2)
    for column, title, values, labels in (
        (left, "action", rows.actions, list(source.spec.action_names)),
        (right, "pose", rows.pose, list(source.spec.pose_names)),
    ):
        series = {label: values[:, i] for i, label in enumerate(labels[:MOST_LINES])}
        with column:
            spec = over_time(series, cursor=moment, theme=theme, title=title)
            st.vega_lite_chart(spec, width="stretch")
            if len(labels) > MOST_LINES:
                st.caption(f"The first {MOST_LINES} of {len(labels)} numbers.")


st.header("Data")
found = find_datasets(st.session_state["folders"])
if not found:
    st.info(
        "There is no dataset in this folder. Create one with `worldeval data collect metaworld "
        "--out runs/data`, or open another folder with `worldeval view --data FOLDER`."
    )
    st.stop()
asked = st.query_params.get("data", "")
names = list(found)
name = st.selectbox("Dataset", names, index=names.index(asked) if asked in names else 0)
st.query_params["data"] = name
path = str(found[name])
changed = found[name].stat().st_mtime_ns
try:
    source = source_of(path, changed)
    if not source.heads:
        st.warning("No episode of this dataset can be read:")
        for finding in source.findings:
            st.text(finding.text)
        st.stop()
    at_a_glance(summary_of(path, changed))
    if source.spec.views:
        with st.expander("Contact sheet", expanded=True):
            st.image(sheet_of(path, changed))
    checks(path, changed)
    episodes(source, path, changed)
except UserError as error:
    st.error("This dataset is damaged.")
    st.text(str(error))
