"""Agreement between human labels and the judge."""

from collections.abc import Sequence
from dataclasses import dataclass

from worldeval.runs.episode_labels import EpisodeLabel
from worldeval.runs.films import Filmstrip
from worldeval.runs.labels import WORDS, Opinion, latest


@dataclass(frozen=True, kw_only=True)
class LabelAgreement:
    """Counts of human labels against the judge, whose cut-off is a probability of 1/2."""

    both: int
    neither: int
    judge_only: int  # the judge says success, the person failure
    person_only: int

    @property
    def total(self) -> int:
        """Number of episodes with a label other than 'unsure'."""
        return self.both + self.neither + self.judge_only + self.person_only

    @property
    def agreeing(self) -> int:
        """Number of episodes on which the person and the judge agree."""
        return self.both + self.neither


def against_judge(opinions: list[Opinion], strips: tuple[Filmstrip, ...]) -> LabelAgreement:
    """Compare the latest labels with the judge; 'unsure' and unjudged episodes are excluded."""
    judged = {s.key: s.probability >= 0.5 for s in strips if s.probability is not None}
    said = [(WORDS[o.label], judged[o.key]) for o in latest(opinions) if o.key in judged]
    return _counted([(person, judge) for person, judge in said if person is not None])


def confirmed(labels: Sequence[EpisodeLabel]) -> LabelAgreement:
    """Compare what a person said of recordings with the judge; unclear ones are excluded."""
    clear = ("true", "false")
    return _counted(
        [
            (label.person == "true", label.success == "true")
            for label in labels
            if label.person in clear and label.success in clear
        ]
    )


def _counted(known: Sequence[tuple[bool, bool]]) -> LabelAgreement:
    """Count pairs of a person's label and the judge's."""
    return LabelAgreement(
        both=known.count((True, True)),
        neither=known.count((False, False)),
        judge_only=known.count((False, True)),
        person_only=known.count((True, False)),
    )
