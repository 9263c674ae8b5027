"""Choose the token for a server, and never send one to a host that the user did not name.

`WORLDEVAL_TOKEN_<HOST>` (`WORLDEVAL_TOKEN_ROBOT_LAB_ORG`, or with the port,
`WORLDEVAL_TOKEN_ROBOT_LAB_ORG_8000`) is for that host. `WORLDEVAL_TOKEN` is sent to the hosts that
the command line itself names. Addresses in recipes or in run manifests, which may be somebody
else's, do not count.
"""

import os
import re
import sys
from collections.abc import Iterable
from urllib.parse import urlsplit

from worldeval.errors import UserError

TOKEN = "WORLDEVAL_TOKEN"  # not part of the address, which is stored in every run folder
NAMED = "WORLDEVAL_NAMED_HOSTS"  # for child processes
ADDRESS = re.compile(r"(?:wss?|https?)://[^\s/?#'\",\]]+")


def token_for(url: str) -> str:
    """Return the token for the server at `url`; "" if there is none that is meant for it.

    Raises:
        UserError: the token cannot be sent; the message does not show it.
    """
    host = host_of(url)
    for variable in (*_variables(host), TOKEN):
        token = os.environ.get(variable, "")
        if token and (variable != TOKEN or host in named_hosts()):
            return checked_token(token, variable)
    return ""


def name_hosts(refs: Iterable[str]) -> None:
    """Allow sending `WORLDEVAL_TOKEN` to the servers in these addresses, which the user named."""
    known = named_hosts() | _hosts(refs)
    os.environ[NAMED] = " ".join(sorted(known))


def named_hosts() -> set[str]:
    """Hosts that the user named, in this command or through `name_hosts`."""
    return _hosts(sys.argv[1:]) | set(os.environ.get(NAMED, "").split())


def withheld(url: str) -> str:
    """Say what to do if a token exists but was not sent to `url`; "" if none was withheld."""
    host = host_of(url)
    if not os.environ.get(TOKEN) or host in named_hosts():
        return ""
    return (
        f" {TOKEN} was not sent because the command line does not name {host}. If the token is "
        f"meant for it, set {_variables(host)[-1]}."
    )


def checked_token(token: str, where: str) -> str:
    """Return `token` if a header can carry it; the error does not show it."""
    if token != token.strip() or not all(" " <= letter <= "~" for letter in token):
        raise UserError(
            f"The token in {where} has line breaks, non-ASCII characters, or spaces at its ends, "
            "which cannot be sent. Use letters, digits and punctuation."
        )
    return token


def host_of(url: str) -> str:
    """`host:port` of an address, in lower case."""
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def _hosts(texts: Iterable[str]) -> set[str]:
    return {host_of(found) for text in texts for found in ADDRESS.findall(text)}


def _variables(host: str) -> tuple[str, str]:
    """Variable names, with the port first: two servers on one machine may have different tokens."""
    plain = re.sub(r":\d+$", "", host)
    return tuple(
        f"{TOKEN}_" + re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_") for name in (host, plain)
    )  # type: ignore[return-value]
