"""Which token goes to which server: never one to a host that the user did not name.

`WORLDEVAL_TOKEN_<HOST>` (`WORLDEVAL_TOKEN_ROBOT_LAB_ORG`, or with the port,
`WORLDEVAL_TOKEN_ROBOT_LAB_ORG_8000`) is for that host. `WORLDEVAL_TOKEN` goes to the hosts that the
command line names itself; an address in a recipe or in the manifest of a run that somebody else
wrote is not among them.
"""

import os
import re
import sys
from collections.abc import Iterable
from urllib.parse import urlsplit

from worldeval.errors import UserError

TOKEN = "WORLDEVAL_TOKEN"  # a token in an address would stand in every run folder
NAMED = "WORLDEVAL_NAMED_HOSTS"  # for processes that this one starts
ADDRESS = re.compile(r"wss?://[^\s/?#'\",\]]+")


def token_for(url: str) -> str:
    """The token for the server at `url`; "" where there is none, or none that is meant for it.

    Raises:
        UserError: the token cannot be sent; it is not shown.
    """
    host = host_of(url)
    for variable in (*_variables(host), TOKEN):
        token = os.environ.get(variable, "")
        if token and (variable != TOKEN or host in named_hosts()):
            return checked_token(token, variable)
    return ""


def name_hosts(refs: Iterable[str]) -> None:
    """Let `WORLDEVAL_TOKEN` go to the servers among these addresses, which the user named."""
    known = named_hosts() | _hosts(refs)
    os.environ[NAMED] = " ".join(sorted(known))


def named_hosts() -> set[str]:
    """Hosts that the user named: in this command, or by `name_hosts`."""
    return _hosts(sys.argv[1:]) | set(os.environ.get(NAMED, "").split())


def withheld(url: str) -> str:
    """What to do where a token is there and was not sent to `url`; "" where none was withheld."""
    host = host_of(url)
    if not os.environ.get(TOKEN) or host in named_hosts():
        return ""
    return (
        f" {TOKEN} was not sent, since the command does not name {host} itself: set "
        f"{_variables(host)[-1]} if the token is meant for it."
    )


def checked_token(token: str, where: str) -> str:
    """`token`, if a header can carry it; the error does not show it."""
    if token != token.strip() or not all(" " <= letter <= "~" for letter in token):
        raise UserError(
            f"The token in {where} has line breaks, letters beyond ASCII or blanks at its ends, "
            "which cannot be sent. Make one of letters, digits and punctuation."
        )
    return token


def host_of(url: str) -> str:
    """`host:port` of an address, in small letters."""
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def _hosts(texts: Iterable[str]) -> set[str]:
    return {host_of(found) for text in texts for found in ADDRESS.findall(text)}


def _variables(host: str) -> tuple[str, str]:
    """With the port first: two servers of one machine may want two tokens."""
    plain = re.sub(r":\d+$", "", host)
    return tuple(
        f"{TOKEN}_" + re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_") for name in (host, plain)
    )  # type: ignore[return-value]
