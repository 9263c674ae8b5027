"""The page of a passport: what a world model and a judge were validated for, in one HTML file."""

from pathlib import Path

from worldeval.files import whole_file
from worldeval.report.contents import MEASURES
from worldeval.report.gates import read_gates
from worldeval.report.number import short
from worldeval.report.page import stylesheet, template_environment
from worldeval.runs.passport import FILE, Passport

TEMPLATE = "passport.html.j2"
QUALITY = {
    "auc": "AUC",
    "accuracy": "Accuracy",
    "brier": "Brier score",
    "false_success": "Failures judged as success",
    "missed_success": "Successes judged as failure",
}  # of the judge on policies that it was not trained on


def write_passport_page(passport: Passport, path: Path, *, signed: bool = False) -> Path:
    """Write the page of a passport; nothing in it is loaded from elsewhere.

    Args:
        signed: a signature is stored beside the passport.
    """
    template = template_environment().get_template(TEMPLATE)
    text = template.render(
        p=passport,
        scope=passport.scope,
        css=stylesheet(),
        title=title(passport),
        gates=read_gates(passport.gates),
        MEASURES=MEASURES,
        quality={
            QUALITY[name]: short(value)
            for name, value in passport.judge_quality.items()
            if name in QUALITY
        },
        signed=signed,
        file=FILE,
    )
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path


def title(passport: Passport) -> str:
    """Say in one sentence what the passport shows."""
    found, worth = passport.validation, passport.phi
    if passport.uncalibrated:
        return "The judge never saw a recorded failure: no rate may be quoted"
    if found is None and worth is None:
        return "Never compared with measured outcomes: a ranking is a hypothesis"
    if worth is None or worth.value is None:
        return "Compared with measured outcomes; the worth of an imagined rate is not known"
    return f"An imagined rate is worth about {worth.value:.0f} trials of the policy"
