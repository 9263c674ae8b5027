"""Page: judge imagined episodes oneself, without knowing whose they are."""

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

DRAW = 20  # episodes drawn at a time

ranked: ReportContents | None = st.session_state["contents"]
kept: EpisodeTable | None = st.session_state["episodes"]
if ranked is None or kept is None:
    st.stop()
contents: ReportContents = ranked
episodes: EpisodeTable = kept


def draw() -> None:
    """Offer to film episodes drawn at random, so that labels of them speak for the run."""
    if st.button(f"Draw {DRAW} episodes at random to judge", icon=":material/casino:"):
        seed = sum(strip.drawn for strip in contents.strips)  # another draw each time
        with st.spinner("a minute: their pictures are decoded in a process of its own"):
            try:
                words = ("film", str(contents.folder), "--draw", str(DRAW), "--seed", str(seed))
                run_verb(*words)
            except UserError as error:
                st.error("It could not be done.")
                st.text(str(error))
                return
        st.rerun()


def effect(opinions: list[Opinion]) -> None:
    """What the labels change; it names the policies."""
    st.caption(
        "Episodes that were labelled count as people say, all others as the judge says. Unsure "
        "leaves the judge's probability."
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
            f"From {FEWEST} labels of episodes that were drawn at random on, the rate of the whole "
            "run is corrected by them. Those that were filmed because they are telling do not "
            "count for it."
        )
        return
    st.text(
        f"Success over the whole run: {found.judged:.2f} as judged, {shown(found.corrected)} "
        f"corrected by {found.labels} labels of episodes drawn at random (prediction-powered "
        f"inference; correlation with the judge {short(found.correlation)})."
    )


st.header("Judge")
if not contents.strips:
    st.info("No roll-out of this run was filmed. Draw some here, or rank with `--films 10`.")
    if len(episodes):
        draw()
    st.stop()
who = st.text_input("Your name", getpass.getuser(), key="who").strip()
if not who:
    st.info("Give a name: every label is kept with who gave it and when.")
    st.stop()

try:
    opinions = read_opinions(contents.folder)
except UserError as error:
    st.error("The labels of this run are broken.")
    st.text(str(error))
    st.stop()
done = {strip.key for strip in contents.strips}
done &= {opinion.key for opinion in opinions if opinion.who == who}
# The order depends on the person, so that neighbours in the ranking are not seen in a row. Each
# strip has a number of its own: one that is filmed later does not shuffle the others anew.
numbers = {
    strip.key: np.random.default_rng([ord(c) for c in f"{who}{strip.key}"]).random()
    for strip in contents.strips
}
waiting = [strip for strip in contents.strips if strip.key not in done]
waiting.sort(key=lambda strip: numbers[strip.key])
st.progress(len(done) / len(contents.strips), f"{len(done)} of {len(contents.strips)} judged")

if waiting:
    strip = waiting[0]
    try:
        # The imagined side alone: whoever judges must not see the real one.
        film = open_film(RunPaths(contents.folder).films, strip, blind=True)
    except UserError as error:
        st.error("This film strip is broken.")
        st.text(str(error))
        st.stop()
    st.text(f"Task: {strip.task}. Does it succeed?")
    st.video(film.video, loop=True, autoplay=True, muted=True, width=640)
    for column, word in zip(st.columns(len(WORDS)), WORDS, strict=True):
        if column.button(word.capitalize(), shortcut=word[0], key=word, width="stretch"):
            add_opinion(contents.folder, strip, word, who=who)
            st.rerun()
else:
    st.success("Every filmed roll-out is judged. Thank you.")
draw()

found = against_judge(opinions, contents.strips)
if found.total:
    st.subheader("People and the judge")
    st.text(f"They agree on {found.agreeing} of {found.total} labels that are not 'unsure'.")
    st.table(
        {
            "": ["person: success", "person: failure"],
            "judge: success": [found.both, found.judge_only],
            "judge: failure": [found.person_only, found.neither],
        }
    )
if latest(opinions):
    st.subheader("Effect on the ranking")
    if st.toggle("Show it (this names the policies)", key="effect"):
        effect(opinions)
