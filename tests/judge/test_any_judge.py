"""Judges by address: what they are asked, what they may answer, and what becomes of it."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.serving import serving
from worldeval.errors import UserError
from worldeval.judge.address import panel_of, read_judge_address, refuse_judge_code
from worldeval.judge.correction import Correction
from worldeval.judge.load import JudgeSetting, is_fixed, is_uncalibrated, judge_hash, load_judge
from worldeval.judge.panel import JudgePanel
from worldeval.judge.protocol import Appraisal
from worldeval.judge.remote import MARK, VERSION, RemoteJudge, answered
from worldeval.judge.rollout_judge import RolloutJudge, checked
from worldeval.judge.rule import RuleJudge
from worldeval.judge.unanswered import MOST
from worldeval.record import Episode, Rollout
from worldeval.serve.judge import JudgeService


def seen(one: Rollout) -> dict[str, np.ndarray]:
    return {"top": np.zeros((len(one.pose), 8, 8, 3), np.uint8)}


def rollout(heights: list[float], *, start: str = "a-0", policy: str = "p") -> Rollout:
    pose = np.array([[height, 0.5] for height in heights], np.float32)
    actions = np.zeros((len(heights) - 1, 2), np.float32)
    return Rollout(start=start, task="lift", policy=policy, seed=3, actions=actions, pose=pose)


def episode(heights: list[float]) -> Episode:
    one = rollout(heights)
    actions = np.zeros((len(heights), 2), np.float32)
    return Episode(
        id="e", frames={}, actions=actions, pose=one.pose, task="lift", success=None, fps=2.0
    )


def setting(cache: Path | None = None) -> JudgeSetting:
    return JudgeSetting(render=seen, fps=2.0, pose_dim=2, cache=cache)


class Told:
    """A judge of frames that repeats what it was told to say."""

    name, version = "told", "1"

    def __init__(self, *answers: object) -> None:
        self.answers, self.asked = list(answers), list[Episode]()

    def judge(self, episodes: list[Episode]) -> list[object]:
        self.asked += episodes
        return [self.answers.pop(0) for _ in episodes]


def told(*answers: object, cache: Path | None = None, **options: object) -> RolloutJudge:
    return RolloutJudge(Told(*answers), seen, fps=2.0, cache=cache, **options)  # pyright: ignore


@pytest.mark.parametrize(
    ("ref", "kind", "place", "params"),
    [
        ("runs/judge", "folder", "runs/judge", {}),
        ("./mine.py:make?t=0.5", "code", "./mine.py:make", {"t": 0.5}),
        ("ws://host:8000?timeout=3", "server", "ws://host:8000", {"timeout": 3}),
        ("vlm:http://h/v1?model=m&frames=4", "vlm", "http://h/v1", {"model": "m", "frames": 4}),
        ("rule:p2 > 0.2 and z < 1?z=1", "rule", "p2 > 0.2 and z < 1", {"z": 1}),
        ("human", "human", "human", {}),
        ("runs/judge | rule:p0 > 1", "panel", "runs/judge | rule:p0 > 1", {}),
    ],
)
def test_addresses(ref: str, kind: str, place: str, params: dict) -> None:
    found = read_judge_address(ref)
    assert (found.kind, found.place, dict(found.params)) == (kind, place, params)


def test_a_panel_is_one_text() -> None:
    ref = panel_of(["runs/judge", "rule:p0 > 1?held=2"])
    assert [*read_judge_address(ref).members.values()] == ["runs/judge", "rule:p0 > 1?held=2"]
    assert panel_of(["runs/judge"]) == "runs/judge"


@pytest.mark.parametrize("ref", ["vlm:", "rule:  ", "runs/judge?held=2"])
def test_incomplete_addresses_are_refused(ref: str) -> None:
    with pytest.raises(UserError):
        read_judge_address(ref)


@pytest.mark.parametrize(
    "ref",
    ["os:system?command=x", "./m.py:make", "models/judge | ./m.py:f", "rule:j > 1?j=./m.py:make"],
)
def test_recipes_may_not_run_code_as_a_judge(ref: str) -> None:
    with pytest.raises(UserError, match="Python code to run as a judge"):
        refuse_judge_code(ref, Path("shared.yaml"))


def test_a_rule_is_true_once_it_held_long_enough() -> None:
    rule = RuleJudge("z - start_z > 0.1", {"z": 0, "held": 2}, columns=2)
    never, short, reached = rule.judge(
        [episode([0, 0.1, 0]), episode([0, 0.2, 0, 0.2]), episode([0.5, 0.7, 0.8, 0])]
    )
    assert (never.probability, short.probability, reached.probability) == (0, 0, 1)
    assert reached.by_frame is not None and reached.by_frame.tolist() == [0, 0, 1, 1]


def test_a_rule_joins_judges_and_proprioception() -> None:
    rule = RuleJudge(
        "seen > 0.8 and z - start_z > 0.1", {"seen": "./m.py:f", "z": 0, "held": 2}, columns=2,
        judges={"seen": Told([0.9, 0.9, 0.1, 0.9], [0.9, 0.9, 0.9, 0.9], None, 0.9)},  # pyright: ignore
    )  # fmt: skip
    heights = [[0.0, 1, 1, 1], [0.0, 1, 1, 0], [0.0, 1, 1, 1], [0.0, 0, 1, 1]]
    said = rule.judge([episode(each) for each in heights])
    assert [each.probability for each in said] == [0, 1, None, 1]
    assert said[1].by_frame is not None and said[1].by_frame.tolist() == [0, 0, 1, 1]
    assert said[2].reason == "seen: the judge gave no reason"
    assert rule.looks  # its judge does


def test_a_rule_of_judges_judges_rollouts(tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text(
        "def make():\n"
        "    def seen(episodes):\n"
        "        return [None if e.pose[0, 0] > 0 else [0.9] * len(e.pose) for e in episodes]\n"
        "    return seen\n"
    )
    ref = f"rule:seen > start_seen - 1 and p0 > 0.5?seen={code}:make"
    judged = load_judge(ref, setting()).judged([rollout([0, 0, 1]), rollout([1, 0, 1])])
    assert judged.verdicts[0].probability == 1 and judged.verdicts[0].step == 2
    assert np.isnan(judged.verdicts[1].probability)
    assert judged.abstained == ("", "seen: the judge gave no reason")
    before = judge_hash(ref)
    code.write_text(code.read_text().replace("0.9", "0.8"))
    assert judge_hash(ref) != before
    assert is_fixed(ref) and not is_fixed("rule:j > 0.5?j=vlm:http://h/v1?model=m")
    with pytest.raises(UserError, match="judges what a world model imagines"):
        load_judge("rule:j > 0.5?j=models/judge")


def test_a_rule_decodes_nothing() -> None:
    def never(one: Rollout) -> dict:
        raise AssertionError("frames were decoded")

    rule = RuleJudge("p0 > 0.5", {}, columns=2)
    assert RolloutJudge(rule, never, fps=2.0)([rollout([0, 1])])[0].probability == 1.0


def test_the_start_itself_never_counts() -> None:
    assert RuleJudge("p0 > 0.5", {}, columns=2).judge([episode([1, 0, 0])])[0].probability == 0


@pytest.mark.parametrize(
    ("text", "params"),
    [("p7 > 1", {}), ("z > 1", {}), ("p0 > 1", {"held": 0}), ("p0 > 1", {"z": 9}),
     ("p0.real > 1", {}), ("__import__('os')", {}), ("p0 > ", {})],
)  # fmt: skip
def test_wrong_rules_are_refused(text: str, params: dict) -> None:
    with pytest.raises(UserError):
        RuleJudge(text, params, columns=2)


def test_what_a_judge_sees_tells_no_policy() -> None:
    judge = told(0.5)
    judge([rollout([0, 1], policy="secret-policy")])
    asked = judge._judge.asked[0]  # pyright: ignore[reportAttributeAccessIssue]
    assert "secret" not in repr((asked.id, asked.source, asked.info)) and asked.success is None
    assert asked.actions.shape == (2, 2) and asked.task == "lift"


@pytest.mark.parametrize(
    ("answer", "probability", "by_frame"),
    [(0.25, 0.25, None), (True, 1.0, None), (np.float32(0.5), 0.5, None), (None, None, None),
     ([0.9, 0.1, 0.4], 0.4, [0.9, 0.1, 0.4]), (Appraisal(probability=0.1), 0.1, None)],
)  # fmt: skip
def test_answers_may_be_numbers_or_lists(
    answer: object, probability: float, by_frame: list
) -> None:
    said = checked(answer, frames=3, judge="told")
    assert said.probability == (None if probability is None else pytest.approx(probability))
    assert (said.by_frame is None) == (by_frame is None)


@pytest.mark.parametrize("answer", [1.5, -0.1, float("nan"), "yes", [0.1, 0.2], {"p": 1}, object(),
                                    [0.1, 2.0, 0.1],
                                    Appraisal(probability=0.5, votes=(2.0,))])  # fmt: skip
def test_other_answers_are_refused(answer: object) -> None:
    with pytest.raises(UserError, match="The judge told returned"):
        checked(answer, frames=3, judge="told")


def test_too_few_answers_are_refused() -> None:
    class Short(Told):
        def judge(self, episodes: list[Episode]) -> list[object]:
            return [0.5]

    judge = RolloutJudge(Short(), seen, fps=2.0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="1 appraisals for 2 episodes"):
        judge([rollout([0, 1]), rollout([0, 2])])


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    first = told(0.75, [0.0, 0.5, 0.25], cache=tmp_path)
    pair = [rollout([0, 1, 2]), rollout([0, 1, 3])]
    said = first.judged(pair)
    assert np.isfinite(said.evidence).all() and said.verdicts[1].step == 1
    again = told(cache=tmp_path).judged(pair)  # it has nothing to say of its own
    np.testing.assert_array_equal(again.evidence, said.evidence)
    assert again.verdicts == said.verdicts
    with pytest.raises(IndexError):  # another episode is asked for
        told(cache=tmp_path).judged([rollout([0, 1, 4])])


def test_an_abstention_is_no_verdict_and_is_asked_again(tmp_path: Path) -> None:
    judged = told(Appraisal(probability=None, reason="dark"), 0.5, cache=tmp_path).judged(
        [rollout([0, 1]), rollout([0, 2])]
    )
    assert judged.abstained == ("dark", "") and np.isnan(judged.verdicts[0].probability)
    assert told(0.25, cache=tmp_path)([rollout([0, 1])])[0].probability == 0.25


def test_foreign_code_gets_copies() -> None:
    film = np.zeros((2, 4, 4, 3), np.uint8)

    class Painter(Told):
        def judge(self, episodes: list[Episode]) -> list[object]:
            for each in episodes:
                each.frames["top"][:] = 9
                each.pose[:] = 9
            return [0.5]

    one = rollout([0, 1])
    RolloutJudge(Painter(), lambda _: {"top": film}, fps=2.0)([one])  # pyright: ignore[reportArgumentType]
    assert film.max() == 0 and one.pose.max() < 9


def test_a_correction_moves_probabilities_and_votes() -> None:
    fixed = Correction(slope=1.0, offset=-2.0)
    said = told(0.5, correction=fixed)([rollout([0, 1])])[0]
    assert said.probability == pytest.approx(1 / (1 + np.e**2)) == pytest.approx(said.votes[0])


def test_a_panel_is_the_mean_and_keeps_the_votes() -> None:
    panel = JudgePanel([told(0.2, None), told(0.8, 0.9)])
    judged = panel.judged([rollout([0, 1]), rollout([0, 2])])
    assert judged.verdicts[0].probability == pytest.approx(0.5)
    assert judged.verdicts[0].votes == (0.2, 0.8)
    assert judged.abstained[0] == "" and judged.abstained[1].startswith("told: ")


def test_python_code_is_a_judge(tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text(
        "def make(limit=0.5):\n"
        "    def by_height(episodes):\n"
        "        return [float(e.pose[-1, 0] > limit) for e in episodes]\n"
        "    return by_height\n"
    )
    ref = f"{code}:make?limit=0.7"
    verdicts = load_judge(ref, setting())([rollout([0, 1]), rollout([0, 0.6])])
    assert [each.probability for each in verdicts] == [1.0, 0.0]
    assert verdicts[0].judge == "by_height"
    before = judge_hash(ref)
    code.write_text(code.read_text().replace("-1, 0", "0, 0"))
    assert judge_hash(ref) != before
    with pytest.raises(UserError, match="cannot be created"):
        load_judge(f"{code}:make?colour=1", setting())
    with pytest.raises(UserError, match="looks at frames"):
        load_judge(ref)


def test_what_is_uncalibrated_and_what_is_fixed(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text('{"slope": 1.0, "offset": 0.5, "labels": 12}')
    assert is_uncalibrated("rule:p0 > 1") and is_uncalibrated("models/judge | rule:p0 > 1")
    assert not is_uncalibrated(f"rule:p0 > 1?calibration={file}") and not is_uncalibrated("")
    assert is_fixed("rule:p0 > 1") and not is_fixed("models/judge | ws://h:1")
    judge = load_judge(f"rule:p0 > 1?calibration={file}", setting())
    assert judge([rollout([0, 2])])[0].probability < 1.0
    with pytest.raises(UserError, match="There is no calibration"):
        load_judge("rule:p0 > 1?calibration=nowhere.json", setting())


def test_people_are_not_asked_in_the_middle_of_a_run() -> None:
    with pytest.raises(UserError, match="judge again"):
        load_judge("human", setting())


def test_a_judge_on_a_server_is_the_same_judge() -> None:
    rule = RuleJudge("p0 > 0.5", {}, columns=2)
    episodes = [episode([0, 1, 0]), episode([0, 0, 0])]
    with serving(JudgeService(rule)) as (url, _):
        remote = RemoteJudge(url, {})
        said = remote.judge(episodes)
    assert (remote.name, remote.version) == (rule.name, rule.version)
    for own, there in zip(rule.judge(episodes), said, strict=True):
        np.testing.assert_array_equal(own.by_frame, there.by_frame)
        assert own.probability == there.probability


@pytest.mark.parametrize("answer", [{}, {"probability": 7.0}, {"probability": "yes"}, "boom"])
def test_what_a_server_says_wrongly_is_an_abstention(answer: object) -> None:
    class Odd(JudgeService):
        def answer(self, request: dict) -> dict:
            if isinstance(answer, str):
                raise RuntimeError(answer)
            return dict(answer)  # pyright: ignore[reportArgumentType, reportCallIssue]

    with serving(Odd(RuleJudge("p0 > 0.5", {}, columns=2))) as (url, _):
        said = RemoteJudge(url, {"timeout": 5}).judge([episode([0, 1])])[0]
    assert said.probability is None and said.reason


def test_a_server_that_falls_silent_is_not_asked_for_ever() -> None:
    with serving(JudgeService(RuleJudge("p0 > 0.5", {}, columns=2))) as (url, _):
        judge = RemoteJudge(url, {"timeout": 1, "wait": 0.1})
        for _ in range(MOST):
            judge._unanswered.note(answered=False)
        (said,) = judge.judge([episode([0, 1])])
        assert said.probability is None and "none of the last 20 requests" in said.reason
        judge._unanswered.note(answered=True)
        assert judge.judge([episode([0, 1])])[0].probability == 1


def test_a_server_whose_answers_are_not_numbered_is_refused() -> None:
    class Plain(JudgeService):
        @property
        def metadata(self) -> dict:
            return {**super().metadata, "numbered": False}

    plain = Plain(RuleJudge("p0 > 0.5", {}, columns=2))
    with serving(plain) as (url, _), pytest.raises(UserError, match="does not number"):
        RemoteJudge(url, {})


def test_a_server_of_something_else_is_refused() -> None:
    class Other(JudgeService):
        @property
        def metadata(self) -> dict:
            return {"name": "a policy"}

    with serving(Other(RuleJudge("p0 > 0.5", {}, columns=2))) as (url, _):
        with pytest.raises(UserError, match="does not serve a judge"):
            RemoteJudge(url, {})
        with pytest.raises(UserError, match="takes no parameter"):
            RemoteJudge(url, {"model": "x"})


@pytest.mark.parametrize(
    ("answer", "text"),
    [({}, "no probability"), ({"probability": 2}, "not a probability"),
     ({"probability": "1"}, "not a probability"), ({"probability": True}, "not a probability"),
     ({"probability": 0.5, "votes": [3]}, "not a probability"),
     ({"probability": 0.5, "votes": "x"}, "list of numbers"),
     ({"probability": 0.5, "by_frame": np.zeros(9)}, "one per frame"),
     ({"probability": 0.5, "by_frame": np.full(2, np.nan)}, "outside 0 to 1")],
)  # fmt: skip
def test_answers_of_a_server_are_checked(answer: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        answered(answer, frames=2, seconds=0.0)


@pytest.mark.parametrize(
    "change",
    [{"frames": {}}, {"frames": {"top": np.zeros((2, 4, 4), np.uint8)}}, {"pose": None},
     {"pose": np.zeros(2, np.float32)}, {"fps": 0}, {"task": 3},
     {"actions": np.zeros((9, 2), np.float32)}],
)  # fmt: skip
def test_requests_to_a_served_judge_are_checked(change: dict) -> None:
    from worldeval.policy.remote.wire import WireError

    good = {
        "frames": {"top": np.zeros((2, 4, 4, 3), np.uint8)},
        "pose": np.zeros((2, 2), np.float32),
        "actions": np.zeros((2, 2), np.float32),
        "task": "lift",
        "fps": 2.0,
    }
    service = JudgeService(RuleJudge("p0 > 0.5", {}, columns=2))
    assert service.answer({"judge": good})["probability"] == 0.0
    if change == {"frames": {}}:  # a rule needs none
        assert service.answer({"judge": {**good, **change}})["probability"] == 0.0
        return
    with pytest.raises(WireError):
        service.answer({"judge": {**good, **change}})
    assert service.metadata[MARK] == VERSION
