"""Page: two policies from the same starts."""

import pandas as pd
import streamlit as st

from worldeval.report.contents import OUTCOMES, Contents

contents: Contents | None = st.session_state["contents"]
if contents is None:
    st.stop()
st.header("Compare two policies")
names = [row.policy for row in contents.rows]
if len(names) < 2:
    st.info("This run has one policy. Rank several to compare them.")
    st.stop()
left, right = st.columns(2)
first = left.selectbox("First", names, index=0)
second = right.selectbox("Second", [name for name in names if name != first])

duel = next((d for d in contents.duels if {d.first, d.second} == {first, second}), None)
if duel is not None and duel.difference.known:
    st.text(f"{duel.first} minus {duel.second}, predicted success: {duel.difference}")
    if duel.separated:
        st.success("They are told apart (betting test, Holm over all pairs).")
    else:
        more = f" If they differ as seen, about {duel.needed:,} shared starts would tell."
        st.warning(f"They are not told apart.{more if duel.needed else ''}")


@st.cache_data(max_entries=8)
def outcomes(path: str, changed: int) -> pd.DataFrame:
    """The outcomes of one side; `changed` is when the file was written."""
    return pd.read_csv(path)


sides = []
for side, column in (("imagined", "score"), ("truth", "success")):
    path = contents.folder / OUTCOMES[side]
    if path.is_file():
        table = outcomes(str(path), path.stat().st_mtime_ns)
        table = table[table["policy"].isin([first, second])]
        wide = table.pivot_table(index=["task", "start"], columns="policy", values=column)
        sides.append(wide.add_suffix(", imagined" if side == "imagined" else ", real"))
if sides:
    starts = pd.concat(sides, axis=1)
    shown = [
        c
        for side in ("imagined", "real")
        for p in (first, second)
        if (c := f"{p}, {side}") in starts
    ]
    st.subheader("Start by start")
    st.dataframe(
        starts[shown].reset_index(),
        hide_index=True,
        column_config=dict.fromkeys(shown, st.column_config.NumberColumn(format="%.2f")),
    )
