"""Page: judge imagined episodes oneself, without knowing whose they are."""

import getpass
from pathlib import Path

import numpy as np
import streamlit as st

from worldeval.errors import UserError
from worldeval.report.contents import Contents
from worldeval.report.film import video
from worldeval.report.filmstrip import FOLDER, Filmstrip
from worldeval.report.opinions import WORDS, add_opinion, against_judge, read_opinions
from worldeval.report.strip import Shown, open_strip


@st.cache_data(show_spinner="reading the frames", max_entries=16)
def imagined(folder: str, strip: Filmstrip, changed: int) -> bytes:
    """The imagined side alone: whoever judges must not see the real one."""
    shown = open_strip(Path(folder), strip)
    return video(Shown(entry=strip, imagined=shown.imagined))


contents: Contents | None = st.session_state["contents"]
if contents is None:
    st.stop()
st.header("Judge")
if not contents.strips:
    st.info("No roll-out of this run was filmed. Run the ranking with `--films 10`.")
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
# The order depends on the person, so that neighbours in the ranking are not seen in a row.
shuffled = np.random.default_rng([ord(c) for c in who]).permutation(len(contents.strips))
waiting = [contents.strips[i] for i in shuffled if contents.strips[i].key not in done]
st.progress(len(done) / len(contents.strips), f"{len(done)} of {len(contents.strips)} judged")

if waiting:
    strip, folder = waiting[0], contents.folder / FOLDER
    try:
        path = folder / strip.imagined
        content = imagined(str(folder), strip, path.stat().st_mtime_ns if path.is_file() else 0)
    except UserError as error:
        st.error("This film strip is broken.")
        st.text(str(error))
        st.stop()
    st.text(f"Task: {strip.task}")
    st.video(content, loop=True, autoplay=True, muted=True, width=640)
    for column, word in zip(st.columns(len(WORDS)), WORDS, strict=True):
        if column.button(word.capitalize(), shortcut=word[0], key=word, width="stretch"):
            add_opinion(contents.folder, strip, word, who=who)
            st.rerun()
else:
    st.success("Every filmed roll-out is judged. Thank you.")

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
