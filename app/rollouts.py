"""Page: one roll-out after the other, imagined above real, with the judge's probability."""

from pathlib import Path

import streamlit as st

from worldeval.axes import Array, UInt8
from worldeval.errors import UserError
from worldeval.report.choose import CHAPTERS
from worldeval.report.contents import Contents
from worldeval.report.film import mosaic, video
from worldeval.report.filmstrip import FOLDER, Filmstrip
from worldeval.report.strip import caption, open_strip
from worldeval.report.words import escaped

IMAGINED = "#0072b2"  # as in every figure
HEIGHT = 384  # pixels of the still picture


@st.cache_data(show_spinner="reading the frames", max_entries=16)
def film(folder: str, strip: Filmstrip, changed: int) -> tuple[UInt8[Array, "t h w 3"], bytes]:
    """Stills and video of a film strip; `changed` is when its file was written."""
    shown = open_strip(Path(folder), strip)
    return mosaic(shown), video(shown)


def choose(strips: list[Filmstrip]) -> int:
    """Which one, by the buttons, their keys, or the link (`?film=`)."""
    if "film" not in st.session_state:
        asked = st.query_params.get("film", "")
        st.session_state["film"] = int(asked) if asked.isdecimal() else 0
    before, after, where = st.columns([1, 1, 6], vertical_alignment="center")
    if before.button("Previous", shortcut="p", width="stretch"):
        st.session_state["film"] -= 1
    if after.button("Next", shortcut="n", width="stretch"):
        st.session_state["film"] += 1
    st.session_state["film"] %= len(strips)
    place = st.session_state["film"]
    where.text(f"{place + 1} of {len(strips)}")
    st.query_params["film"] = str(place)
    return place


contents: Contents | None = st.session_state["contents"]
if contents is None:
    st.stop()
st.header("Roll-outs")
if not contents.strips:
    st.info("No roll-out of this run was filmed. Run the ranking with `--films 10`.")
    st.stop()

policies, tasks, kinds = st.columns(3)
policy = policies.selectbox("Policy", ["all", *sorted({s.policy for s in contents.strips})])
task = tasks.selectbox("Task", ["all", *sorted({s.task for s in contents.strips})])
fits = {title: test for _, title, test in CHAPTERS if any(map(test, contents.strips))}
kind = kinds.selectbox("What it shows", ["all", *fits])
strips = [
    strip
    for strip in contents.strips
    if policy in ("all", strip.policy) and task in ("all", strip.task)
    if kind == "all" or fits[kind](strip)
]
if not strips:
    st.info("No filmed roll-out is of this kind. Widen the choice above.")
    st.stop()

strip = strips[choose(strips)]
st.subheader(escaped(strip.policy), divider="red" if strip.agrees is False else "gray")
st.text(f"{strip.task}, start {strip.start}, seed {strip.seed}: {caption(strip)}")
folder = contents.folder / FOLDER
try:
    path = folder / strip.imagined
    stills, content = film(str(folder), strip, path.stat().st_mtime_ns if path.is_file() else 0)
except UserError as error:
    st.error("This film strip is broken.")
    st.text(str(error))
    st.stop()

moving, still = st.columns(2)
moving.video(content, loop=True, autoplay=True, muted=True)
rows = "Above: imagined. Below: real." if strip.truth else "Imagined; it was not run for real."
moving.caption(rows)
picture, last = still.empty(), len(stills) - 1
moment = still.slider("World frame", 0, last, last) if last else 0
scale = max(1, round(HEIGHT / stills.shape[1]))
picture.image(stills[moment].repeat(scale, axis=0).repeat(scale, axis=1), width="stretch")

if strip.evidence:
    seen = [{"frame": t, "probability": p} for t, p in enumerate(strip.evidence)]
    x = {"field": "frame", "type": "quantitative", "title": "world frame"}
    y = {
        "field": "probability",
        "type": "quantitative",
        "title": "P(success), the judge",
        "scale": {"domain": [0, 1]},
    }
    line = {
        "data": {"values": seen},
        "mark": {"type": "line", "point": True, "color": IMAGINED},
        "encoding": {"x": x, "y": y},
    }
    cursor = {
        "data": {"values": [{"frame": moment}]},
        "mark": {"type": "rule", "strokeDash": [4, 3], "color": "gray"},
        "encoding": {"x": x},
    }
    st.vega_lite_chart({"layer": [line, cursor], "height": 220})
else:
    st.caption("The judge's probability over time was not kept for this roll-out.")
