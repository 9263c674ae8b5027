"""Page: the ranking with its intervals, compared with measured outcomes and baselines."""

from typing import Any, Literal

import pandas as pd
import streamlit as st

from worldeval.report.charts import matrix, scatter
from worldeval.report.contents import FURTHER, MEASURES, ReportContents
from worldeval.report.number import interval, short, shown
from worldeval.report.table import worst_cells
from worldeval.report.theme import DARK, LIGHT
from worldeval.report.words import escaped, headline, separation
from worldeval.runs.episodes import EpisodeTable

LARGEST = 40  # maximum number of policies for the table of pairs
TALLEST = 25  # policies shown without scrolling the table


def so_far(episodes: EpisodeTable) -> None:
    """Show the mean predictions of a run under way, without any claim."""
    st.header("Preliminary results")
    st.caption("Not a ranking: policies have different numbers of episodes and are not compared.")
    table = episodes.table.groupby("policy", as_index=False).agg(
        episodes=("score", "size"), predicted=("score", "mean")
    )
    st.dataframe(table, hide_index=True, column_config={"predicted": bar("blue")})
    if st.button("Refresh", icon=":material/refresh:"):
        st.rerun()


def bar(colour: Literal["blue", "orange"], *, width: int | None = None) -> Any:
    """Configure a column of rates as bars; blue is predicted, orange is measured."""
    return st.column_config.ProgressColumn(
        format="%.2f", min_value=0, max_value=1, color=colour, width=width
    )


contents: ReportContents | None = st.session_state["contents"]
if contents is None:
    if st.session_state["episodes"] is not None and len(st.session_state["episodes"]):
        so_far(st.session_state["episodes"])
    st.stop()
theme = DARK if st.context.theme.type == "dark" else LIGHT

worst = worst_cells(contents.tasks)


def worst_task(policy: str) -> str:
    """Name the task on which a policy is predicted to succeed least, with the rate."""
    if policy not in worst:
        return ""
    task, cell = worst[policy]
    return f"{short(cell.predicted.value)} {task}"


said = headline(contents)
st.header("Ranking")
st.text(" ".join((said.verdict, *said.sentences)))

table = pd.DataFrame(
    [
        {
            "rank": row.rank,
            "policy": row.policy,
            "lineage": row.lineage or "",
            "predicted": row.predicted.value,
            "interval": interval(row.predicted),
            "measured": row.truth.value if row.truth else None,
            "measured interval": interval(row.truth),
            "tied group": row.letters,
            "P(best)": row.probability_best,
            "worst task": worst_task(row.policy),
        }
        for row in contents.rows
    ]
)

columns = ["rank", "policy", "predicted", "interval", "tied group", "P(best)"]
if any(not row.policy.startswith(row.lineage or "") for row in contents.rows):
    columns.append("lineage")  # only if the names do not contain it
if worst:
    columns.append("worst task")
if contents.has_truth:
    columns[4:4] = ["measured", "measured interval"]
picked = st.dataframe(
    table[columns],
    hide_index=True,
    height="content" if len(table) <= TALLEST else "auto",
    column_config={
        "rank": st.column_config.NumberColumn("#", width=36),
        "policy": st.column_config.TextColumn(width=155),
        "predicted": bar("blue", width=95),
        "interval": st.column_config.TextColumn(width=88),
        "measured": bar("orange", width=95),
        "measured interval": st.column_config.TextColumn("interval", width=88),
        "tied group": st.column_config.TextColumn("tied", width=52),
        "P(best)": st.column_config.NumberColumn(format="%.2f", width=58),
        "worst task": st.column_config.TextColumn(
            width=135, help="The task with the lowest predicted success, and that prediction."
        ),
    },
    on_select="rerun",
    selection_mode="single-row",
    key="policy_table",
)
st.caption(
    "Policies that share a letter are statistically tied. Select a row to see its tasks and "
    "roll-outs."
)
if picked["selection"]["rows"]:
    row = contents.rows[picked["selection"]["rows"][0]]
    cells = [
        {
            "task": task.task,
            "predicted": shown(cell.predicted),
            "measured": shown(cell.truth) if cell.truth else "",
        }
        for task in contents.tasks
        for cell in task.cells
        if cell.policy == row.policy
    ]
    st.subheader(escaped(row.policy), divider="gray")
    st.dataframe(pd.DataFrame(cells), hide_index=True)
    if st.button("Watch its roll-outs", icon=":material/movie:"):
        st.session_state["of_policy"] = row.policy
        st.switch_page("rollouts.py")

if contents.has_truth:
    st.subheader("Predicted against measured success")
    left, _ = st.columns([3, 1])
    left.vega_lite_chart(scatter(contents.rows, theme=theme), width="stretch")
    st.caption(
        "Numbers are ranks. The rates are equal on the dashed line; below it, imagination is too "
        "optimistic."
    )

if contents.duels and len(contents.rows) <= LARGEST:
    st.subheader("Pairwise comparison")
    spec = matrix([row.policy for row in contents.rows], contents.duels, theme=theme)
    st.vega_lite_chart(spec, width="stretch")
    st.caption(
        "Predicted success of the row minus that of the column. A dot marks pairs that are "
        f"statistically separated: {separation(contents.duels, level=contents.level)}."
    )

if contents.evaluators:
    st.subheader("Agreement with the measured outcomes")
    agreement = []
    for each in contents.evaluators:
        values = {
            MEASURES[m]: shown(each.measures[m]) if m in each.measures else ""
            for m in contents.measures
        }
        agreement.append({"ranked by": each.name, **values})
    st.dataframe(pd.DataFrame(agreement), hide_index=True)
    st.caption("For MMRV and top-1 regret, 0 is best; for the others, 1 is best.")
    for name, value in contents.further.items():
        st.text(f"{FURTHER[name]}: {shown(value)}")

if contents.tasks:
    st.subheader("Task by task")
    tasks = [
        {
            "task": task.task,
            "starts": task.starts,
            "mean predicted": task.predicted,
            "mean measured": task.truth,
            "optimism": task.bias,
            "mean error": task.error,
            "Spearman": task.spearman,
        }
        for task in contents.tasks
    ]
    two = st.column_config.NumberColumn(format="%.2f")
    numbers = [name for name in tasks[0] if name not in ("task", "starts")]
    st.dataframe(
        pd.DataFrame(tasks).dropna(axis=1, how="all"),
        hide_index=True,
        column_config=dict.fromkeys(numbers, two),
    )
