"""People's labels against the judge."""

from dataclasses import dataclass

from worldeval.runs.films import Filmstrip
from worldeval.runs.labels import WORDS, Opinion, latest


@dataclass(frozen=True, kw_only=True)
class LabelAgreement:
    """People's labels against the judge's, an episode being a success from probability 1/2."""

    both: int
    neither: int
    judge_only: int  # the judge says success, the person failure
    person_only: int

    @property
    def total(self) -> int:
        """Episodes with a label that is not 'unsure'."""
        return self.both + self.neither + self.judge_only + self.person_only

    @property
    def agreeing(self) -> int:
        """Episodes on which both say the same."""
        return self.both + self.neither


def against_judge(opinions: list[Opinion], strips: tuple[Filmstrip, ...]) -> LabelAgreement:
    """Compare the last labels with the judge; 'unsure' and what it did not judge are left out."""
    judged = {s.key: s.probability >= 0.5 for s in strips if s.probability is not None}
    said = [(WORDS[o.label], judged[o.key]) for o in latest(opinions) if o.key in judged]
    known = [(person, judge) for person, judge in said if person is not None]
    return LabelAgreement(
        both=known.count((True, True)),
        neither=known.count((False, False)),
        judge_only=known.count((False, True)),
        person_only=known.count((True, False)),
    )
