"""The page: complete, escaped, without network, and all that it refers to is there."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from worldeval.report.contents import ReportContents, read_contents
from worldeval.report.page import write_page
from worldeval.report.poster import write_poster

VOID = {"meta", "img", "br", "line", "rect", "polyline", "path", "use", "input", "wbr"}
SECTIONS = [
    "ranking", "agreement", "tasks", "gates", "fidelity", "episodes", "protocol", "provenance",
]  # fmt: skip


class Page(HTMLParser):
    """Collects headings, references and text, and checks that tags nest."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.links: list[str] = []  # to parts of the page
        self.charts = 0
        self.ids: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        found = [v for k, v in attrs if k in ("src", "srcset", "href") and v]
        self.links += [each for each in found if each.startswith("#")]
        self.sources += [each for each in found if not each.startswith("#")]
        self.charts += given.get("class", "") == "chart"
        self.ids += [str(given["id"])] if given.get("id") else []
        assert tag != "script"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID or "svg" in self.open
        self.handle_starttag(tag, attrs)
        self.open = self.open[:-1] if tag not in VOID else self.open

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def read(folder: Path) -> ReportContents:
    return read_contents(folder, rng=np.random.default_rng(0))


def test_the_page_holds_every_part_in_order_and_every_picture(run: Path) -> None:
    path = write_page(read(run), run / "report/index.html")
    page = Page(path)
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    assert [link for link in page.links if link[1:] in SECTIONS] == [f"#{s}" for s in SECTIONS]
    assert len(set(page.ids)) == len(page.ids)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert page.charts == 4  # two, each for a wide and a narrow window
    assert len(page.sources) == 2 * 5  # every clip and its last frame
    assert all((path.parent / source).is_file() for source in page.sources)
    for words in ("worldeval rank", "--truth", "Starts per task", "frames ahead"):
        assert words in page.text
    for words in (
        "Perfect binary evaluator, same number of starts",
        "Training step",
        "Success in imagination, failure in the simulator",
        "simulated success",
        "Agreement with the simulator",
        "world model",
        "models/latent",
        "0123abcd",
    ):
        assert words in page.text
    assert "http" not in path.read_text().replace("http-equiv", "")


def test_every_policy_has_its_success_and_failure_or_a_word_about_it(run: Path) -> None:
    text = Page(write_page(read(run), run / "report/index.html")).text
    shown = text[text.index("A judged success and a judged failure of every policy") :]
    assert shown.index("bc-all@2400") < shown.index("bc-all@250 ") < shown.index("blind")
    assert shown.count("is shown above") == 2  # the optimistic and the pessimistic one
    assert shown.count("There is no film strip of a judged") == 1
    assert len(list((run / "report").glob("clip-??.webp"))) == 5  # none twice


def test_charts_take_their_colours_from_the_page(run: Path) -> None:
    text = write_page(read(run), run / "report/index.html").read_text()
    charts = re.findall(r'<svg class="chart".*?</svg>', text, re.DOTALL)
    assert len(charts) == 4
    for chart in charts:
        assert "var(--paper)" in chart and "var(--imagined)" in chart and "#01020" not in chart
        assert "<text" in chart and "<style" not in chart
    assert "bc-all@2400</text>" in charts[0] and ">1</text>" in charts[1]


@pytest.mark.parametrize(
    ("recorded", "words"),
    [
        ("simulator", ("simulated success", "Agreement with the simulator", "simulator: success")),
        ("real trials", ("real success", "Agreement with real trials", "real: success")),
        (None, ("measured success", "Agreement with the measured outcomes", "measured: success")),
    ],
)
def test_the_page_says_what_predictions_are_compared_with(
    run: Path, recorded: str | None, words: tuple[str, ...]
) -> None:
    summary = json.loads((run / "summary.json").read_text())
    summary["compared_with"] = recorded
    (run / "summary.json").write_text(json.dumps(summary))
    text = Page(write_page(read(run), run / "report/index.html")).text
    assert all(each in text for each in words)
    assert ("simulator:" in text) == (recorded == "simulator")


def test_an_earlier_run_with_simulated_episodes_was_compared_with_the_simulator(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    del summary["compared_with"]
    (run / "summary.json").write_text(json.dumps(summary))
    (run / "truth").mkdir()
    (run / "truth/a.csv").write_text("policy,task,seed,start,success\n")
    assert read(run).compared.label == "simulator"


def test_a_page_of_one_file_refers_to_nothing(run: Path, tmp_path: Path) -> None:
    path = write_page(read(run), tmp_path / "sent/run.html", embed=True)
    assert list(path.parent.iterdir()) == [path]
    assert all(source.startswith("data:image/") for source in Page(path).sources)


def test_a_run_without_truth_refuses_first_and_leaves_parts_out(tmp_path: Path) -> None:
    from tests.support.synthetic_run import synthetic_run

    run = synthetic_run(tmp_path / "bare", truth=False, films=False)
    page = Page(write_page(read(run), run / "report/index.html"))
    assert page.ids == ["ranking", "tasks", "gates", "fidelity", "protocol", "provenance"]
    assert page.sources == [] and page.charts == 0
    assert "The difference is predicted minus" not in page.text
    assert page.text.index("Not a ranking") < page.text.index("First in imagination")


def test_text_from_a_run_is_escaped(run: Path) -> None:
    evil = "<script>alert(1)</script> | *x* `y`\n# z"
    summary = json.loads((run / "summary.json").read_text())
    summary["ranking"]["policies"][0]["policy"] = evil
    summary["findings"] = [{"code": evil, "severity": "refusal", "text": evil}]
    (run / "summary.json").write_text(json.dumps(summary))
    index = json.loads((run / "filmstrips/index.json").read_text())
    index[0]["policy"] = index[0]["task"] = evil
    (run / "filmstrips/index.json").write_text(json.dumps(index))
    (run / "recipe.yaml").write_text(f"summary: {evil}")
    contents = read(run)
    page = Page(write_page(contents, run / "report/index.html"))  # fails on any script
    assert page.text.count("<script>alert(1)</script>") >= 5
    text = write_page(contents, run / "report/report.md").read_text()
    assert "<script" not in text
    assert "\n# z" not in text
    assert r"\| \*x\*" in text


def test_markdown_has_whole_tables_and_its_pictures(run: Path) -> None:
    path = write_page(read(run), run / "report/report.md")
    lines = path.read_text().splitlines()
    rules = [place for place, line in enumerate(lines) if re.fullmatch(r"\|[-:|]+\|", line)]
    assert len(rules) == 7
    for place in rules:
        body = place + 1
        assert lines[body].startswith("| "), lines[place - 1]
        while lines[body].startswith("|"):
            assert lines[body].count("|") == lines[place].count("|")
            body += 1
    pictures = re.findall(r"!\[.*\]\((.*)\)", path.read_text())
    assert len(pictures) == 7
    assert all((path.parent / name).is_file() for name in pictures)


def test_the_same_run_gives_the_same_page(run: Path) -> None:
    first = write_page(read(run), run / "a/index.html").read_text()
    assert write_page(read(run), run / "b/index.html").read_text() == first


def test_the_poster_is_drawn(run: Path) -> None:
    from PIL import Image

    with Image.open(write_poster(read(run), run / "poster.png")) as picture:
        assert picture.width > picture.height > 400


def test_a_run_without_film_has_no_poster(run: Path) -> None:
    from worldeval.errors import UserError

    (run / "filmstrips/index.json").unlink()
    with pytest.raises(UserError, match="--films"):
        write_poster(read(run), run / "poster.png")
