"""The viewer in a real browser: what only a browser can tell."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from worldeval.report.film import FOOT
from worldeval.runs.films import read_filmstrips
from worldeval.runs.finding import find_runs
from worldeval.runs.labels import read_opinions

# The script of the page has ended, and nothing waits for its content.
DRAWN = """() => {
    const app = document.querySelector('[data-test-script-state]');
    const waiting = document.querySelector('[data-testid=stSkeleton], [data-testid=stSpinner]');
    return app?.dataset.testScriptState === 'notRunning' && !waiting;
}"""


def opened(page: Any, address: str, path: str, heading: str, **link: str) -> Any:
    """Go to a page of the viewer and wait until it is drawn."""
    query = "&".join(f"{name}={quote(value)}" for name, value in link.items())
    page.goto(f"{address}/{path}?{query}")
    page.get_by_role("heading", name=heading, exact=True).wait_for()
    page.wait_for_function(DRAWN)
    return page


def pixels(page: Any) -> list[str]:
    """Where the pictures of a page come from: a new picture has a new address."""
    return page.locator("[data-testid=stImage] img").evaluate_all("all => all.map(i => i.src)")


def row(page: Any, number: int) -> None:
    """Select a row of the first table, which is a picture: by its box at the left."""
    grid = page.locator("[data-testid=stDataFrame]").first
    place = {"x": 16, "y": 35 + 35 * number + 17}
    grid.locator("canvas").first.click(position=place, force=True)  # a scroller lies above it


def pick(page: Any, label: str, option: str) -> None:
    """Choose in a list by keys."""
    box = page.get_by_role("combobox", name=label)
    box.click()
    box.fill(option)
    box.press("Enter")


def test_a_policy_of_the_ranking_is_clicked_and_watched(page: Any, address: str) -> None:
    opened(page, address, "", "Ranking", run="demo")
    page.get_by_text("Read with care (3)").wait_for()  # caveats stand open here
    page.get_by_text("pairs are statistically tied").first.wait_for()
    row(page, 4)
    page.get_by_role("heading", name="blind", exact=True).wait_for()
    page.get_by_role("button", name="Watch its roll-outs").click()
    page.get_by_role("heading", name="Roll-outs", exact=True).wait_for()
    page.get_by_text("23 of 24").wait_for()
    page.get_by_role("link", name="3 caveats").wait_for()  # and take one line elsewhere


def test_a_filter_narrows_the_rollouts_and_a_key_moves_on(page: Any, address: str) -> None:
    opened(page, address, "rollouts", "Roll-outs", run="demo")
    pick(page, "Policy", "bc-1@200")
    page.get_by_text("1 of 24, page 1 of 3").wait_for()
    page.get_by_role("heading", name="Roll-outs", exact=True).click()  # out of the list's field
    page.keyboard.press("Shift+N")
    page.get_by_text("9 of 24, page 2 of 3").wait_for()
    row(page, 1)
    page.get_by_text("10 of 24").wait_for()


def test_a_start_is_chosen_for_comparison_and_the_choice_explained(page: Any, address: str) -> None:
    opened(page, address, "compare", "Compare two policies", run="demo")
    page.get_by_text("Shown because the policies differ most").wait_for()
    row(page, 2)
    page.get_by_text("You selected this start.").wait_for()
    pick(page, "Second", "blind")
    page.get_by_text("Statistically separated").wait_for()


def test_the_gates_open_the_recipe(page: Any, address: str) -> None:
    opened(page, address, "gates", "Gates", run="demo")
    page.get_by_text("Recipe", exact=True).click()
    page.get_by_text("closed-loop").last.wait_for()


def test_an_export_is_selected_by_a_click_and_by_keys(page: Any, address: str) -> None:
    opened(page, address, "exporting", "Export", run="demo")
    page.get_by_text("Only episodes judged as success").click()
    text = page.get_by_role("textbox", name="Selection")
    page.wait_for_function(  # while the page is drawn again, the old field is still there
        "() => { const all = document.querySelectorAll(\"input[aria-label='Selection']\");"
        " return all.length === 1 && all[0].value === 'probability >= 0.8' }"
    )
    text.fill("policy == 'blind'")
    text.press("Enter")
    page.get_by_text("24 of 120").wait_for()


def test_a_click_opens_a_run(page: Any, address: str, toy_runs: Path) -> None:
    opened(page, address, "runs", "Runs", run="demo")
    page.get_by_text("Select a row to open the run").wait_for()
    row(page, [run.name for run in find_runs(toy_runs)].index("toy"))
    page.get_by_role("heading", name="Preliminary results").wait_for()
    page.get_by_text("This run is under way: at work, or stopped while replaying").wait_for()
    assert "run=toy" in page.url


def test_a_dataset_is_checked_by_a_click_and_an_episode_opened(page: Any, address: str) -> None:
    opened(page, address, "browse", "Data", data="recorded")
    page.get_by_role("button", name="Check the dataset").click()
    page.get_by_text(re.compile("would harm training[;.]")).wait_for()
    page.locator("video").wait_for()
    page.get_by_role("slider").last.press("ArrowRight")
    page.get_by_test_id("stSliderThumbValue").get_by_text("1", exact=True).wait_for()


def test_the_controls_of_a_player_cover_no_row(page: Any, address: str) -> None:
    opened(page, address, "rollouts", "Roll-outs", run="demo")
    page.wait_for_function("document.querySelector('video')?.readyState >= 2")
    shown, tall = page.locator("video").first.evaluate("v => [v.clientHeight, v.videoHeight]")
    assert FOOT * shown / tall > 40  # Chromium's row of buttons; its slider lies in it


def test_a_video_plays(page: Any, address: str) -> None:
    opened(page, address, "rollouts", "Roll-outs", run="demo")
    video = page.locator("video").first
    video.wait_for()
    page.wait_for_function("document.querySelector('video').readyState >= 2")
    assert video.evaluate("v => v.error") is None
    assert video.evaluate("v => [v.videoWidth > 0, v.duration > 1]") == [True, True]


def test_the_slider_lets_the_film_stand_at_its_moment(page: Any, address: str) -> None:
    name = "bc-all@2400/drawer-open-v3-0/0"
    opened(page, address, "rollouts", "Roll-outs", run="demo", episode=name)
    page.wait_for_function("document.querySelector('video').readyState >= 2")
    page.get_by_role("slider").first.press("ArrowLeft")
    page.get_by_text("World frame 11,").wait_for()
    page.wait_for_function(
        "(v => v.paused && Math.floor(8 * v.currentTime) === 11)(document.querySelector('video'))"
    )


def test_a_link_opens_its_episode_and_a_key_the_next(page: Any, address: str) -> None:
    name = "bc-1@200/door-open-v3-3/3"
    opened(page, address, "rollouts", "Roll-outs", run="demo", episode=name)
    page.get_by_role("heading", name="bc-1@200", exact=True).wait_for()
    page.get_by_text("door-open-v3, start door-open-v3-3, seed 3").wait_for()
    page.keyboard.press("n")
    page.get_by_text("door-open-v3, start door-open-v3-4, seed 4").wait_for()
    assert "door-open-v3-4" in page.url


def test_a_label_given_by_a_key_is_on_the_disk(page: Any, address: str, toy_runs: Path) -> None:
    opened(page, address, "labelling", "Judge", run="demo")
    page.wait_for_function("document.querySelector('video')?.readyState >= 2")
    page.get_by_text("0 labelled, 5 rendered").wait_for()
    page.keyboard.press("f")
    page.get_by_text("1 labelled, 4 rendered").wait_for()
    (kept,) = read_opinions(toy_runs / "demo")
    assert kept.label == "failure"
    assert kept.who


def driving(page: Any, address: str) -> Any:
    """Open the page Drive on the toy world; every page drives an episode of its own."""
    opened(page, address, "drive", "Drive", run="toy")
    page.get_by_text("The start: a recorded frame").wait_for()
    return page.locator(".drive")


# The component is in a shadow tree, which locators enter but the code of a page does not.
AT_LEAST = """n => [...document.querySelectorAll('*')].some(e =>
    Number(e.shadowRoot?.querySelector('.drive')?.dataset.frame) >= n)"""


def test_held_keys_drive_and_released_ones_do_not(page: Any, address: str) -> None:
    drive = driving(page, address)
    assert drive.get_by_role("button", name="x plus").count() == 1  # directions have names
    before = drive.locator("img").get_attribute("src")
    page.keyboard.down("d")
    page.wait_for_function(AT_LEAST, arg=5)
    page.keyboard.up("d")
    page.keyboard.press("ArrowUp")
    drive.get_by_text("by hand").wait_for()
    drive.locator("[data-part=judge]").get_by_text(".").wait_for()  # of the judge beside the world
    stopped = int(drive.get_attribute("data-frame"))
    assert drive.locator("img").get_attribute("src") != before
    page.keyboard.press("Shift")  # no direction: time stands still
    drive.get_by_label("Frame").fill("0")
    drive.get_by_text(f"frame 0 of {stopped}").wait_for()
    assert drive.locator("img").get_attribute("src") == before
    assert float(drive.locator("[data-part=trust]").inner_text()) == 1


def test_an_earlier_frame_is_continued_from_and_everything_begun_again(
    page: Any, address: str
) -> None:
    drive = driving(page, address)
    button = drive.get_by_role("button", name="y plus").bounding_box()
    page.mouse.move(button["x"] + 5, button["y"] + 5)
    page.mouse.down()
    page.wait_for_function(AT_LEAST, arg=6)
    page.mouse.up()
    drive.get_by_label("Frame").fill("2")
    page.keyboard.press("b")
    drive.get_by_text("frame 2 of 2").wait_for()
    drive.get_by_role("button", name="Begin again").click()
    drive.get_by_text("The start: a recorded frame").wait_for()


def test_a_policy_takes_over_and_what_was_done_is_recorded(
    page: Any, address: str, toy_runs: Path
) -> None:
    drive = driving(page, address)
    page.keyboard.press("a")
    page.wait_for_function(AT_LEAST, arg=1)
    drive.get_by_label("Policy").select_option("policies/toy/step-1")
    page.keyboard.press("t")
    page.wait_for_function(AT_LEAST, arg=4)
    page.keyboard.press("q")  # any direction relieves it
    drive.get_by_text("by hand>toy/step-1>by hand").wait_for()
    drive.get_by_role("button", name="Record as an episode").click()
    drive.get_by_text("in the run 'driven/world'").wait_for()
    (strip,) = read_filmstrips(toy_runs / "driven/world/filmstrips")
    assert strip.policy == "by hand>toy/step-1>by hand"
    page.get_by_role("link", name="Roll-outs").click()
    page.get_by_role("heading", name="Roll-outs", exact=True).wait_for()


def test_a_gamepad_drives(page: Any, address: str) -> None:
    page.add_init_script(
        "window.pad = {axes: [0, 0, 0, 0], buttons: []};"
        "navigator.getGamepads = () => [null, window.pad];"
    )
    drive = driving(page, address)
    page.evaluate("window.pad.axes[0] = -1")
    page.wait_for_function(AT_LEAST, arg=2)
    page.evaluate("window.pad.axes[0] = 0.05")  # within the dead zone
    drive.get_by_text("by hand").wait_for()


def test_dark_and_light_differ_and_ask_nobody_else(page: Any, address: str) -> None:
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(request.url.split("/")[2]))
    seen = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        opened(page, address, "", "Ranking", run="demo")
        page.locator("canvas").first.wait_for()
        colour = page.locator("[data-testid=stApp]").evaluate(
            "e => getComputedStyle(e).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
        )
        seen.append(np.mean(colour))
    assert seen[0] > 200
    assert seen[1] < 60
    assert asked == {address.removeprefix("http://")}
