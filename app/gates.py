"""Page: the gates that the world model must pass, and the provenance of the run."""

from dataclasses import asdict

import pandas as pd
import streamlit as st

from worldeval.report.contents import ReportContents
from worldeval.report.number import seconds, shown
from worldeval.report.words import escaped

contents: ReportContents | None = st.session_state["contents"]
if contents is None:
    st.stop()
st.header("Gates")
VERDICTS = {True: "passed", False: "failed", None: ""}
if contents.gates:
    rows = [
        {
            "gate": escaped(gate.title),
            "value": escaped(shown(gate.value)),
            "threshold": escaped(gate.threshold),
            "verdict": VERDICTS[gate.passed],
            "meaning": gate.meaning,
        }
        for gate in contents.gates
    ]
    st.table(pd.DataFrame(rows).set_index("gate"))  # a table wraps long text
else:
    st.info("No gates were run, because the protocol names no recorded episodes (`replays:`).")

if contents.pairs is not None:
    st.subheader("Imagined and measured episodes")
    pairs = contents.pairs
    st.text(f"{pairs.total:,} pairs; imagination agrees with {pairs.both + pairs.neither:,}.")
    st.text(f"Measured failures imagined as success: {shown(pairs.optimism)}")
    st.text(f"Measured successes imagined as failure: {shown(pairs.pessimism)}")

st.subheader("Provenance")
if contents.seconds:
    times = {name.replace("_cpu", " (CPU time)"): each for name, each in contents.seconds.items()}
    st.text(", ".join(f"{name}: {seconds(each)}" for name, each in times.items()))
st.json({**asdict(contents.facts), "world": dict(contents.world)}, expanded=1)
if contents.recipe:
    with st.expander("Recipe"):
        st.code(contents.recipe, language="yaml")
