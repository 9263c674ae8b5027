"""Page: confirm or correct the labels that a judge gave to recorded episodes."""

import getpass
import os
from pathlib import Path

import numpy as np
import streamlit as st

from worldeval.data.source import Source, open_source
from worldeval.errors import UserError
from worldeval.report.film import clip
from worldeval.report.opinions import confirmed
from worldeval.runs.episode_labels import EpisodeLabel, confirm, read_labels
from worldeval.runs.labels import WORDS

MOST = 400  # frames of a video; a longer episode is shown faster
JUDGED = {"true": "success", "false": "failure", "": "no verdict"}


@st.cache_resource(show_spinner="opening the recordings", max_entries=1)
def source_of(path: str) -> Source:
    """Open the recordings."""
    return open_source(path)


@st.cache_data(show_spinner="reading the frames", max_entries=8)
def video_of(path: str, index: int) -> bytes:
    """Encode all views of a whole episode as mp4."""
    source = source_of(path)
    length = source.heads[index].length
    rows = np.linspace(0, length - 1, min(length, MOST)).round().astype(int)
    frames = {view: source.frames(index, view, rows) for view in source.spec.views}
    return clip(frames, fps=source.spec.fps)


def said(label: EpisodeLabel) -> str:
    """Say what the judge said of an episode."""
    sure = f" with probability {float(label.probability):.2f}" if label.probability else ""
    reason = f": {label.reason}" if label.reason else ""
    return f"{label.judge} says {JUDGED.get(label.success, label.success)}{sure}{reason}"


def ask(label: EpisodeLabel, source: Source, index: int) -> None:
    """Show an episode, and write what the person says of it."""
    st.text(f"Task: {label.task or '(no text)'}. Does the episode succeed?")
    if source.spec.views:
        st.video(video_of(data, index), loop=True, autoplay=True, muted=True, width=640)
    if st.toggle("Show what the judge says", key="judge_shown"):
        st.text(said(label))
    for column, word in zip(st.columns(len(WORDS)), WORDS, strict=True):
        if column.button(word.capitalize(), shortcut=word[0], key=word, width="stretch"):
            confirm(path, label.episode, word, who=who)
            st.rerun()


st.header("Confirm labels")
path = Path(os.environ["WORLDEVAL_LABELS"])
data = os.environ["WORLDEVAL_DATA"].split(os.pathsep)[0]
who = st.text_input("Your name", getpass.getuser(), key="who").strip()
if not who:
    st.info("Enter your name; it is stored with every label, together with the time.")
    st.stop()
try:
    labels = read_labels(path)
    source = source_of(data)
except UserError as error:
    st.error("The labels or the recordings cannot be read.")
    st.text(str(error))
    st.stop()
places = {head.id: index for index, head in enumerate(source.heads)}
here = [label for label in labels if label.episode in places]
if len(here) < len(labels):
    st.warning(f"{len(labels) - len(here)} labels are of episodes that {data} does not have.")
if not here:
    st.stop()
waiting = [label for label in here if not label.person]
st.progress(1 - len(waiting) / len(here), f"{len(here) - len(waiting)} of {len(here)} confirmed")
# What the judge is least sure of is asked first.
waiting.sort(key=lambda label: abs(float(label.probability or 0.5) - 0.5))
if waiting:
    ask(waiting[0], source, places[waiting[0].episode])
else:
    st.success(f"All labels of {path} are confirmed or corrected. Thank you.")
found = confirmed(here)
if found.total:
    st.text(
        f"{found.agreeing} of {found.total} labels of the judge are confirmed ('unsure' and "
        "episodes without a verdict excluded)."
    )
done = [label for label in here if label.person]
if done:
    with st.expander("Correct an earlier answer"):
        names = [label.episode for label in reversed(done)]
        name = st.selectbox("Episode", names)
        label = next(each for each in done if each.episode == name)
        st.text(f"{label.who} said {label.person} on {label.when}.")
        for column, word in zip(st.columns(len(WORDS)), WORDS, strict=True):
            if column.button(word.capitalize(), key=f"again {word}", width="stretch"):
                confirm(path, name, word, who=who)
                st.rerun()
