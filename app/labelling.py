"""Page: label imagined episodes blindly, without seeing which policy made them."""

import getpass
import os
import shlex

import pandas as pd
import streamlit as st

from worldeval.errors import UserError
from worldeval.evaluate.label_queue import label_queue
from worldeval.report.asking import MODES, asked_of, drawn_as
from worldeval.report.contents import ReportContents
from worldeval.report.effect import FEWEST, Corrected, corrected, corrected_by_queue, moved
from worldeval.report.film import open_film
from worldeval.report.number import short, shown
from worldeval.report.opinions import against_judge
from worldeval.report.verbs import run_verb
from worldeval.runs.episodes import EpisodeTable
from worldeval.runs.finding import signature
from worldeval.runs.label_queue import LabelQueue
from worldeval.runs.labels import (
    CHOSEN,
    IMPORTANT,
    RANDOM,
    WORDS,
    Opinion,
    add_opinion,
    between_people,
    latest,
    read_opinions,
)
from worldeval.runs.paths import RunPaths

MORE = 20  # episodes rendered per click
# What the mode does, and what its labels can be used for.
EXPLAINED = {
    IMPORTANT: "Drawn by importance: uncertain verdicts of policies that are statistically tied "
    "come first. Every label counts by the inverse of its episode's drawing probability, so rates "
    "stay unbiased. Decide beforehand how many you will label.",
    RANDOM: "Drawn uniformly at random from the whole run: every label stands for equally many "
    "episodes.",
    CHOSEN: "Everything that is rendered, in random order. Films that were not drawn were chosen "
    "because they show much; their labels are kept out of corrected rates.",
}

ranked: ReportContents | None = st.session_state["contents"]
kept: EpisodeTable | None = st.session_state["episodes"]
if ranked is None or kept is None:
    st.stop()
contents: ReportContents = ranked
episodes: EpisodeTable = kept


@st.cache_resource(show_spinner=False, max_entries=4)
def queue_of(folder: str, signature: tuple[int, ...]) -> LabelQueue:
    """Return the queue of the episodes that matter."""
    return label_queue(contents.folder, episodes)


def render(mode: str) -> None:
    """Offer to render further episodes to label."""
    seed = sum(strip.drawn for strip in contents.strips)  # a different draw each time
    words = ["--draw", str(MORE), "--seed", str(seed)]
    label = f"Draw {MORE} random episodes"
    if mode == IMPORTANT:
        words, label = ["--important", str(MORE)], f"Render the next {MORE} that matter"
    if st.button(label, icon=":material/casino:"):
        with st.spinner("Decoding the frames in a separate process; this takes about a minute."):
            try:
                run_verb("film", str(contents.folder), *words)
            except UserError as error:
                st.error("The episodes could not be rendered.")
                st.text(str(error))
                return
        st.rerun()


def choose_mode() -> str:
    """Let the person choose which episodes are asked for, and say what that means."""
    first = IMPORTANT if os.environ.get("WORLDEVAL_PAGE") == "labelling" else CHOSEN
    picked = st.segmented_control(
        "Episodes", list(MODES), format_func=MODES.__getitem__, default=first, key="asked"
    )
    mode = picked or first
    st.caption(EXPLAINED[mode])
    return mode


def common() -> float:
    """Let people choose how many episodes all of them label; returns a share."""
    return st.slider(
        "Episodes that everybody labels, in percent",
        0, 100, 20, step=10, key="shared",
        help="Agreement of two people is known only where both labelled. Of the other episodes, "
        "one label is enough.",
    ) / 100  # fmt: skip


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
    found = {
        "of randomly drawn episodes": corrected(episodes, opinions, contents.strips),
        "of the queue, weighted by inverse probability": corrected_by_queue(
            episodes, opinions, queue
        ),
    }
    if not any(found.values()):
        st.caption(
            f"With at least {FEWEST} labels of episodes that were drawn (at random, or by the "
            "queue of what matters), the success rate of the whole run is corrected by the "
            "labels. Episodes that were rendered because they are informative are not used."
        )
    for which, each in found.items():
        if each is not None:
            st.text(said_of(each, which))


def said_of(found: Corrected, which: str) -> str:
    """Say what labels make of the rate of the whole run."""
    return (
        f"Success rate of the whole run: {found.judged:.2f} by the judge, "
        f"{shown(found.corrected)} after correction by {found.labels} labels {which} "
        "(prediction-powered inference; correlation with the judge "
        f"{short(found.correlation)})."
    )


def people(opinions: list[Opinion]) -> None:
    """Show how far people agree with each other."""
    pairs = between_people(opinions)
    if not pairs:
        return
    st.subheader("Agreement between people")
    st.table(
        {
            "": [f"{pair.one} and {pair.other}" for pair in pairs],
            "episodes": [pair.episodes for pair in pairs],
            "same label": [pair.equal for pair in pairs],
            "Cohen's kappa": [shown(pair.kappa) for pair in pairs],
        }
    )
    st.caption(
        "1 is full agreement, 0 what chance gives. Episodes that matter are hard ones, so the "
        "agreement on all episodes may be better."
    )


st.header("Judge")
if not len(episodes):
    st.info("This run has no episodes yet.")
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
try:
    queue = queue_of(str(contents.folder), signature(contents.folder))
except UserError as error:
    st.error("The queue of this run is damaged.")
    st.text(str(error))
    st.stop()
mode = choose_mode()
shared = 1.0 if mode == CHOSEN else common()
waiting = asked_of(who, mode, contents.strips, opinions, queue, shared=shared)
done = len({opinion.key for opinion in opinions if opinion.who == who})
total = done + len(waiting)
st.progress(done / max(total, 1), f"{done} labelled, {len(waiting)} rendered episodes wait")

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
            add_opinion(contents.folder, strip, word, who=who, drawn=drawn_as(mode, strip))
            st.rerun()
elif done:
    st.success("All of these episodes that are rendered are labelled. Thank you.")
else:
    st.info("No such episode is rendered yet. Render some here, or rank with `--films 10`.")
render(mode)

if latest(opinions):
    st.subheader("Next")
    st.text("Rank the run with these labels as its judge:")
    out = contents.folder.with_name(f"{contents.folder.name}-people")
    words = ["worldeval", "judge", "again", str(contents.folder), "--judge", "human"]
    st.code(shlex.join([*words, "--out", str(out)]), language="bash", wrap_lines=True)
people(opinions)
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
