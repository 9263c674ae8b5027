"""Make, check and show the passport of a world model and a judge."""

from dataclasses import dataclass
from pathlib import Path

from worldeval.api.load import Address
from worldeval.errors import UserError
from worldeval.evaluate.passport import PassportRequest
from worldeval.evaluate.passport import make_passport as make
from worldeval.recipe import shipped
from worldeval.report.passport import title, write_passport_page
from worldeval.runs.passport import (
    FILE,
    PAGE,
    SIGNATURE,
    Passport,
    passports_of,
    read_passport,
)
from worldeval.runs.passport_files import FileState, file_states
from worldeval.runs.sealed_json import sign, verify


@dataclass(frozen=True, kw_only=True)
class PassportFolder:
    """A passport in a judge's folder."""

    folder: Path
    passport: Passport
    signed: bool  # a signature is stored beside it; only `check_passport` verifies one

    @property
    def path(self) -> Path:
        """The passport's file."""
        return self.folder / FILE

    @property
    def page(self) -> Path:
        """Its page."""
        return self.folder / PAGE

    @property
    def title(self) -> str:
        """What the passport shows, in one sentence."""
        return title(self.passport)

    @property
    def phi(self) -> str:
        """The worth of an imagined rate with its interval, as text."""
        found = self.passport.phi
        if found is None or found.value is None or found.low is None or found.high is None:
            return "not measured"
        return f"{found.value:.0f} [{found.low:.0f}, {found.high:.0f}] trials"


@dataclass(frozen=True, kw_only=True)
class CheckedPassport:
    """A passport compared with the files that it speaks about."""

    folder: Path
    passport: Passport | None  # None: it could not be read
    files: tuple[FileState, ...] = ()
    signature: str = "unsigned"  # 'unsigned', 'not checked', 'valid' or 'invalid'
    problems: tuple[str, ...] = ()  # sentences; empty if everything is as it was

    @property
    def valid(self) -> bool:
        """Whether nothing differs."""
        return not self.problems


def make_passport(
    run: Address,
    *,
    world: Address | None = None,
    judge: Address | None = None,
    starts: Address | None = None,
    card: Address | None = None,
    keep_rates: bool = False,
    key: Address | None = None,
    seed: int = 0,
) -> PassportFolder:
    """Write the passport of a world model and a judge to the judge's folder.

    Args:
        run: folder of a finished ranking that was compared with measured outcomes.
        world, judge: folders of the models, if they were moved since.
        starts: file of further held-out starts, in addition to those of the run.
        card: file that describes the data, to be hashed with the rest.
        keep_rates: keep the validated rates that the judge already has, and add none of this run.
        key: private SSH key (such as Ed25519) to sign the passport with.
        seed: random seed of the division of the starts.

    Returns:
        The passport and where it is.

    Raises:
        UserError: the run was not compared with truth, or its models are missing or have changed.

    >>> import worldeval as we
    >>> we.make_passport("runs/demo").passport.phi  # doctest: +SKIP
    """
    if key is not None and not Path(key).is_file():  # before the earlier passport is replaced
        raise UserError(f"There is no private key {key}. Make one: ssh-keygen -t ed25519 -f {key}")
    request = PassportRequest(
        world=_path(world),
        judge=_path(judge),
        starts=None if starts is None else Path(starts),
        card=None if card is None else Path(card),
        keep_rates=keep_rates,
        seed=seed,
    )
    folder, passport = make(Path(run), request)
    if key is not None:
        try:
            sign(folder / FILE, Path(key))
        except UserError as error:
            raise UserError(f"{folder / FILE} is written, but unsigned: {error}") from error
        write_passport_page(passport, folder / PAGE, signed=True)
    return PassportFolder(folder=folder, passport=passport, signed=key is not None)


def open_passport(place: Address) -> PassportFolder:
    """Read the passport of a judge, a lab or a world model.

    Args:
        place: folder of the judge, of the lab, or of the world model beside its judge.

    Returns:
        The passport and where it is.

    Raises:
        UserError: there is no passport, or several judges have one; or it is damaged.

    >>> import worldeval as we
    >>> len(we.open_passport("models/judge").passport.scope.tasks)
    5
    """
    folders = passports_of(Path(shipped(str(place))))
    if len(folders) > 1:
        listed = ", ".join(map(str, folders))
        raise UserError(f"Several judges of {place} have a passport: {listed}. Give one of them.")
    folder = folders[0]
    return PassportFolder(
        folder=folder,
        passport=read_passport(folder),
        signed=(folder / SIGNATURE).is_file(),
    )


def check_passport(place: Address, *, public_key: Address | None = None) -> list[CheckedPassport]:
    """Compare passports with their files: world model, judge, tokenizer, starts, data card.

    Args:
        place: as in `open_passport`; of a world model, the passports of all judges beside it.
        public_key: the public SSH key whose signature the passports must have.

    Returns:
        A result for every passport: `valid`, the state of every file, and what is wrong.

    Raises:
        UserError: there is no passport.

    >>> import worldeval as we
    >>> [found.valid for found in we.check_passport("models/latent")]
    [True]
    """
    key = None if public_key is None else Path(public_key)
    return [_checked(folder, key) for folder in passports_of(Path(shipped(str(place))))]


def _checked(folder: Path, key: Path | None) -> CheckedPassport:
    try:
        passport = read_passport(folder)
    except UserError as error:
        return CheckedPassport(folder=folder, passport=None, problems=(str(error),))
    files = file_states(folder, passport)
    problems = [
        f"{state.file.role} ({state.file.path or state.file.name}) is {state.state}."
        for state in files
        if state.wrong
    ]
    signature = "not checked" if (folder / SIGNATURE).is_file() else "unsigned"
    if key is not None:
        try:
            verify(folder / FILE, key)
            signature = "valid"
        except UserError as error:
            signature = "invalid" if signature == "not checked" else signature
            problems.append(str(error))
    return CheckedPassport(
        folder=folder,
        passport=passport,
        files=tuple(files),
        signature=signature,
        problems=tuple(problems),
    )


def _path(folder: Address | None) -> Path | None:
    return None if folder is None else Path(shipped(str(folder)))
