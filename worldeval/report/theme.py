"""The colour schemes: light, dark, and the page's own.

Blue is imagination, vermilion the measured outcome. They are the colour-blind-safe colours of Okabe
and Ito. No plotting library is imported here, because the viewer's charts need only the colours.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Theme:
    """The colours of a figure. Blue is imagination, vermilion the measured outcome."""

    name: str
    paper: str
    ink: str
    faint: str
    grid: str
    imagined: str
    real: str


LIGHT = Theme(
    name="light",
    paper="#ffffff",
    ink="#1f2328",
    faint="#656d76",
    grid="#e3e6ea",
    imagined="#0072b2",
    real="#d55e00",
)
DARK = Theme(
    name="dark",
    paper="#16191d",
    ink="#e6e8eb",
    faint="#9aa3ad",
    grid="#2c3138",
    imagined="#56b4e9",
    real="#e69f00",
)
# Colours that no figure has by chance; in a page, they become the variables of its style sheet, so
# that one drawing serves both schemes (`chart_svg.py`).
PAGE = Theme(
    name="page",
    paper="#010203",
    ink="#010204",
    faint="#010205",
    grid="#010206",
    imagined="#010207",
    real="#010208",
)
