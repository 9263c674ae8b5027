"""A record as canonical JSON with a checksum inside, optionally signed with an SSH key.

The checksum (SHA-256 of the canonical JSON of everything but itself) shows damage and careless
edits; whoever can edit the file can also compute it anew. Only a signature shows who made it:
`ssh-keygen -Y sign` (OpenSSH 8.0 or newer) with a key that the user names, such as Ed25519, stored
beside the file and checked with `ssh-keygen -Y verify`.
"""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from worldeval.errors import UserError
from worldeval.files import plain, read_object

KEY = "sha256"
NAMESPACE = "worldeval-passport"  # a signature for another purpose does not count
SIGNER = "signer"  # the name that a public key gets while it is checked


def canonical(content: Mapping[str, Any], *, indent: int | None = None) -> bytes:
    """Return JSON with sorted keys, as UTF-8, ending in a line break."""
    separators = (",", ": ") if indent else (",", ":")
    text = json.dumps(
        content,
        sort_keys=True,
        indent=indent,
        separators=separators,
        ensure_ascii=False,
        allow_nan=False,
        default=plain,
    )
    return (text + "\n").encode()


def seal(record: Any) -> dict[str, Any]:
    """Return a dataclass as plain data, with the checksum of everything else."""
    content = json.loads(canonical(asdict(record)))
    return {**content, KEY: _checksum(content)}


def sealed_as(path: Path) -> str:
    """Compute the checksum that a sealed file should hold."""
    return _checksum(read_object(path))


def sign(path: Path, key: Path) -> Path:
    """Sign a sealed file with a private SSH key; returns the signature's file.

    The signature is of the canonical JSON, so that reformatting the file does not break it. A key
    with a passphrase is asked for by ssh-keygen itself.

    Raises:
        UserError: the key does not exist, or ssh-keygen is missing or refuses it.
    """
    if not key.is_file():
        raise UserError(f"There is no private key {key}. Make one: ssh-keygen -t ed25519 -f {key}")
    with TemporaryDirectory() as scratch:
        text = Path(scratch) / path.name
        text.write_bytes(canonical(read_object(path)))
        done = _ssh_keygen("-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(text))
        if done.returncode:
            raise UserError(f"{key} could not sign {path}: {_said(done)}")
        signature = path.with_name(f"{path.name}.sig")
        shutil.copyfile(f"{text}.sig", signature)
    return signature


def verify(path: Path, public_key: Path) -> None:
    """Check the signature beside a sealed file.

    Args:
        path: the sealed file.
        public_key: the signer's public SSH key, such as `id_ed25519.pub`.

    Raises:
        UserError: there is no signature, the content changed since, or another key signed it.
    """
    signature = path.with_name(f"{path.name}.sig")
    if not signature.is_file():
        raise UserError(f"{path} is not signed (there is no {signature.name} beside it).")
    try:
        key = public_key.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise UserError(f"{public_key} is not a readable public key: {error}.") from error
    with TemporaryDirectory() as scratch:
        allowed = Path(scratch) / "allowed"
        allowed.write_text(f"{SIGNER} {key}\n", encoding="utf-8")
        done = _ssh_keygen(
            "-Y", "verify", "-f", str(allowed), "-I", SIGNER, "-n", NAMESPACE,
            "-s", str(signature), given=canonical(read_object(path)),
        )  # fmt: skip
    if done.returncode:
        raise UserError(
            f"The signature of {path} does not fit {public_key}: the file was changed after it was "
            f"signed, or another key signed it ({_said(done)})."
        )


def _checksum(content: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in content.items() if key != KEY}
    return hashlib.sha256(canonical(rest)).hexdigest()


def _ssh_keygen(*words: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    try:
        return subprocess.run(["ssh-keygen", *words], input=given, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise UserError(
            "Signatures need ssh-keygen (OpenSSH 8.0 or newer), which is not installed. Without "
            "--key a passport has a checksum only."
        ) from error


def _said(done: "subprocess.CompletedProcess[bytes]") -> str:
    text = (done.stderr or done.stdout).decode(errors="replace")
    return " ".join(text.split())[:300] or f"exit status {done.returncode}"
