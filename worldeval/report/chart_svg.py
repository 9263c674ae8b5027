"""Figures as SVG inside a page: text stays text, and colours are the page's own."""

import io
import re
from html import escape

import matplotlib as mpl
from matplotlib.figure import Figure

from worldeval.report.theme import PAGE

VARIABLES = {
    PAGE.paper: "var(--paper)",
    PAGE.ink: "var(--ink)",
    PAGE.faint: "var(--faint)",
    PAGE.grid: "var(--rule)",
    PAGE.imagined: "var(--imagined)",
    PAGE.real: "var(--real)",
}
PIXEL = 96  # in an inch


def chart_svg(figure: Figure, name: str, *, alt: str, kind: str = "") -> str:
    """Return a figure drawn in the theme `PAGE` as an `svg` element.

    Args:
        name: unique in the page; the drawing's own names begin with it.
        alt: what the figure shows, for those who cannot see it.
        kind: further classes of the element.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    inside = re.search(r"<svg\b.*?viewBox=\"([^\"]*)\"[^>]*>(.*)</svg>", text, re.DOTALL)
    assert inside is not None, "matplotlib writes one svg element"
    box, drawn = inside.groups()
    drawn = re.sub(r"<(metadata|style)\b.*?</\1>|<!--.*?-->", "", drawn, flags=re.DOTALL)
    used = set(re.findall(r"#([\w.-]+)", drawn))
    drawn = re.sub(r" id=\"([^\"]*)\"", lambda m: m[0] if m[1] in used else "", drawn)
    drawn = re.sub(r"\bid=\"", f'id="{name}-', drawn)
    drawn = re.sub(r"\b(?:xlink:)?href=\"#", f'href="#{name}-', drawn)
    drawn = drawn.replace("url(#", f"url(#{name}-")
    for colour, variable in VARIABLES.items():
        drawn = drawn.replace(colour, variable)
    drawn = re.sub(r"\n\s*", "\n", drawn)
    width = round(figure.get_figwidth() * PIXEL)
    return (
        f'<svg class="{f"chart {kind}".strip()}" viewBox="{box}" role="img" '
        f'aria-label="{escape(alt)}" style="max-width: {width}px">{drawn}</svg>'
    )
