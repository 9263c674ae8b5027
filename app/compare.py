# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportGeneralTypeIssues=false
"""Page: compare two policies from the same starts, and watch one start side by side."""

import pandas as pd
import streamlit as st

from worldeval.errors import UserError
from worldeval.report.contents import ReportContents
from worldeval.report.film import open_film
from worldeval.report.number import shown
from worldeval.report.verbs import run_verb
from worldeval.report.words import escaped, needed, separation
from worldeval.runs.episodes import EpisodeTable, filmed
from worldeval.runs.paths import RunPaths

HEIGHT = 260  # pixels of the table of starts
OUTCOME = {1.0: "measured: success", 0.0: "measured: failure"}
SIDES = (("score", "imagined"), ("real", "measured"))  # column of the table and its label

contents: ReportContents | None = st.session_state["contents"]
episodes: EpisodeTable | None = st.session_state["episodes"]
if contents is None or episodes is None:
    st.stop()
st.header("Compare two policies")
names = [row.policy for row in contents.rows]
if len(names) < 2:
    st.info("This run contains only one policy. Rank at least two to compare them.")
    st.stop()
left, right = st.columns(2)
first = left.selectbox("First", names, index=0)
second = right.selectbox("Second", [name for name in names if name != first])

duel = next((d for d in contents.duels if {d.first, d.second} == {first, second}), None)
if duel is not None and duel.difference.known:
    st.text(f"{duel.first} minus {duel.second}, predicted success: {shown(duel.difference)}")
    if duel.separated:
        st.success(f"Statistically separated: {separation([duel], level=contents.level)}.")
    else:
        st.warning(f"Statistically tied.{needed(duel)}")

table = episodes.table[episodes.table["policy"].isin([first, second])]
sides = []
for column, side in SIDES:
    if table[column].notna().any():
        wide = table.pivot_table(index=["task", "start"], columns="policy", values=column)
        sides.append(wide.add_suffix(f", {side}"))
if not sides:
    st.info("Neither policy has a finished episode yet.")
    st.stop()
starts = pd.concat(sides, axis=1)
shown = [
    name
    for _, side in SIDES
    for policy in (first, second)
    if (name := f"{policy}, {side}") in starts
]
starts = starts[shown].reset_index()
gap = starts[shown[0]] - starts[shown[1]]
starts = starts.loc[gap.abs().sort_values(ascending=False, kind="stable").index]
if all(name.startswith(task) for task, name in zip(starts["task"], starts["start"], strict=True)):
    columns = ["start", *shown]  # the name of the start contains its task
else:
    columns = ["task", "start", *shown]
st.subheader("Start by start")
picked = st.dataframe(
    starts[columns],
    hide_index=True,
    height=HEIGHT,
    column_config={
        name: st.column_config.NumberColumn(name.replace(policy, place, 1), format="%.2f")
        for place, policy in (("first", first), ("second", second))
        for name in shown
        if name in [f"{policy}, {side}" for _, side in SIDES]
    },
    on_select="rerun",
    selection_mode="single-row",
    key=f"starts {first} {second}",
)
st.caption("Starts with the largest difference come first. Select one to watch both policies.")

chosen = picked["selection"]["rows"]
films = filmed(episodes, st.session_state["strips"])
if chosen:
    start, why = starts.iloc[chosen[0]], "You selected this start."
else:  # prefer a start whose film strips exist
    both = table[table["id"].isin(films)].groupby("start")["policy"].nunique()
    ready = starts[starts["start"].isin(both[both == 2].index)]
    start = (ready if len(ready) else starts).iloc[0]
    among = " among those with films of both policies" if len(ready) else ""
    why = f"Shown because the policies differ most from this start{among}."
own = table[(table["task"] == start["task"]) & (table["start"] == start["start"])]
st.subheader(escaped(f"Both from {start['start']}"), divider="gray")
apart = abs(start[shown[0]] - start[shown[1]])
st.caption(f"{why} Difference: {apart:.2f}." if apart == apart else why)
missing = []
for column, policy in zip(st.columns(2), (first, second), strict=True):
    rows = own[own["policy"] == policy].to_dict("records")
    with column:
        st.markdown(f"**{escaped(policy)}**")
        if not rows:
            st.caption("This policy has no episode from this start.")
            continue
        row = rows[0]
        measured = OUTCOME.get(row["real"], "not measured")
        st.text(f"judged {row['score']:.2f}, {measured}")
        strip = films.get(row["id"])
        if strip is None:
            st.caption("Only latents are stored; decode them to watch this episode.")
            missing += [row["id"]] if row["file"] else []
            continue
        try:
            film = open_film(RunPaths(contents.folder).films, strip)
        except UserError as error:
            st.error("This film strip is damaged.")
            st.text(str(error))
            continue
        st.video(film.video, loop=True, autoplay=True, muted=True)
if missing and st.button("Decode the frames", icon=":material/movie:"):
    with st.spinner("Loading the world model in a separate process; this takes a few seconds."):
        try:
            run_verb("film", str(contents.folder), names=missing)
        except UserError as error:
            st.error("The frames could not be decoded.")
            st.text(str(error))
            st.stop()
    st.rerun()
