"""Page: label imagined episodes blindly, without seeing which policy made them."""

import getpass

import numpy as np
import pandas as pd
import streamlit as st

from worldeval.errors import UserError
from worldeval.report.contents import ReportContents
from worldeval.report.effect import FEWEST, corrected, moved
from worldeval.report.film import open_film
from worldeval.report.number import short, shown
from worldeval.report.opinions import against_judge
from worldeval.report.verbs import run_verb
from worldeval.runs.episodes import EpisodeTable
from worldeval.runs.labels import WORDS, Opinion, add_opinion, latest, read_opinions
from worldeval.runs.paths import RunPaths

DRAW = 20  # episodes drawn per click

ranked: ReportContents | None = st.session_state["contents"]
kept: EpisodeTable | None = st.session_state["episodes"]
if ranked is None or kept is None:
    st.stop()
contents: ReportContents = ranked
episodes: EpisodeTable = kept


def draw() -> None:
    """Offer to render randomly drawn episodes, whose labels are representative of the run."""
    if st.button(f"Draw {DRAW} random episodes", icon=":material/casino:"):
        seed = sum(strip.drawn for strip in contents.strips)  # a different draw each time
        with st.spinner("Decoding the frames in a separate process; this takes about a minute."):
            try:
                words = ("film", str(contents.folder), "--draw", str(DRAW), "--seed", str(seed))
                run_verb(*words)
            except UserError as error:
                st.error("The episodes could not be rendered.")
                st.text(str(error))
                return
        st.rerun()


def effect(opinions: list[Opinion]) -> None:
    """Show how the labels change the ranking; this reveals the policies."""
    st.caption(
        "Labelled episodes use the label; all others, and those labelled 'unsure', use the judge's "
        "probability."
    )
    rows = [
        {
            "policy": each.policy,
            "labels": each.labels,
            "rank, judged": each.rank,
            "rank, labelled": each.rank_after,
            "judged": each.judged,
            "labelled": each.labelled,
        }
        for each in moved(episodes, opinions)
    ]
    two = st.column_config.NumberColumn(format="%.2f")
    columns = {"judged": two, "labelled": two}
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=columns)
    found = corrected(episodes, opinions, contents.strips)
    if found is None:
        st.caption(
            f"With at least {FEWEST} labels of randomly drawn episodes, the success rate of the "
            "whole run is corrected by the labels. Episodes that were rendered because they are "
            "informative are not used for this."
        )
        return
    st.text(
        f"Success rate of the whole run: {found.judged:.2f} by the judge, "
        f"{shown(found.corrected)} after correction by {found.labels} labels of randomly drawn "
        "episodes (prediction-powered inference; correlation with the judge "
        f"{short(found.correlation)})."
    )


st.header("Judge")
if not contents.strips:
    st.info("This run has no film strips. Draw some here, or rank with `--films 10`.")
    if len(episodes):
        draw()
    st.stop()
who = st.text_input("Your name", getpass.getuser(), key="who").strip()
if not who:
    st.info("Enter your name; it is stored with every label, together with the time.")
    st.stop()

try:
    opinions = read_opinions(contents.folder)
except UserError as error:
    st.error("The labels of this run are damaged.")
    st.text(str(error))
    st.stop()
done = {strip.key for strip in contents.strips}
done &= {opinion.key for opinion in opinions if opinion.who == who}
# The order is random per person, so that neighbours in the ranking are not shown in a row. Every
# strip has its own random number, so that strips added later do not reorder the others.
numbers = {
    strip.key: np.random.default_rng([ord(c) for c in f"{who}{strip.key}"]).random()
    for strip in contents.strips
}
waiting = [strip for strip in contents.strips if strip.key not in done]
waiting.sort(key=lambda strip: numbers[strip.key])
st.progress(len(done) / len(contents.strips), f"{len(done)} of {len(contents.strips)} labelled")

if waiting:
    strip = waiting[0]
    try:
        # Only the imagined side: the measured outcome must not influence the label.
        film = open_film(RunPaths(contents.folder).films, strip, blind=True)
    except UserError as error:
        st.error("This film strip is damaged.")
        st.text(str(error))
        st.stop()
    st.text(f"Task: {strip.task}. Does the episode succeed?")
    st.video(film.video, loop=True, autoplay=True, muted=True, width=640)
    for column, word in zip(st.columns(len(WORDS)), WORDS, strict=True):
        if column.button(word.capitalize(), shortcut=word[0], key=word, width="stretch"):
            add_opinion(contents.folder, strip, word, who=who)
            st.rerun()
else:
    st.success("All rendered episodes are labelled. Thank you.")
draw()

found = against_judge(opinions, contents.strips)
if found.total:
    st.subheader("Agreement with the judge")
    st.text(
        f"People and the judge agree on {found.agreeing} of {found.total} labels ('unsure' "
        "excluded)."
    )
    st.table(
        {
            "": ["person: success", "person: failure"],
            "judge: success": [found.both, found.judge_only],
            "judge: failure": [found.person_only, found.neither],
        }
    )
if latest(opinions):
    st.subheader("Effect on the ranking")
    if st.toggle("Show the effect (this reveals the policies)", key="effect"):
        effect(opinions)
