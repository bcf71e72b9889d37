"""How the page is served: address, login, and what is said of it on the command line."""

from __future__ import annotations

import argparse
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from .errors import InputError
from .policy import Policy, on_spaces

AUTH_VARIABLE = "POOLING_EXPLORER_AUTH"
LOOPBACK = "127.0.0.1"

Login = list[tuple[str, str]]
"""(user, password)"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The flags of `app.py` that have to do with visitors."""
    group = parser.add_argument_group("serving")
    group.add_argument("--host", help=f"address to listen on; default: {LOOPBACK}, this machine only")
    group.add_argument("--port", type=int, help="default: the first free one from 7860")
    group.add_argument("--root-path", help="where a reverse proxy puts the page, e.g. /explorer")
    group.add_argument("--share", action="store_true", help="make a public link through gradio's servers (off)")
    group.add_argument("--demo", action="store_true", help="for strangers: see README; always so on a Space")
    group.add_argument(
        "--auth", action="append", default=[], metavar="USER:PASSWORD",
        help=f"ask for a login (repeatable); others on this machine can read a command line: --auth-file and the "
        f"variable {AUTH_VARIABLE} cannot be read so",
    )  # fmt: skip
    group.add_argument("--auth-file", metavar="FILE", help="USER:PASSWORD, one a line; # begins a comment")


def login_of(options: argparse.Namespace) -> Login:
    """Users and passwords from the flags, the file and the environment variable, which is then forgotten: background
    runs inherit the environment. Raises `InputError`."""
    given = [("--auth", text) for text in options.auth]
    if options.auth_file:
        given += [(f"{Path(options.auth_file).name} line {number}", text) for number, text in _lines(options.auth_file)]
    variable = os.environ.pop(AUTH_VARIABLE, "")
    given += [(AUTH_VARIABLE, text) for text in variable.splitlines() if text.strip()]
    found: dict[str, str] = {}
    for where, text in given:
        user, colon, password = text.strip().partition(":")
        if not (user.strip() and colon and password):
            raise InputError(f"{where}: a login is USER:PASSWORD, with neither of them empty")
        if user.strip() in found:
            raise InputError(f"{where}: the user '{user.strip()[:40]}' is given twice; give every user one password")
        found[user.strip()] = password
    return list(found.items())


def _lines(file: str) -> list[tuple[int, str]]:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the login file '{file}' cannot be read; write USER:PASSWORD, one a line") from error
    found = [(n, line) for n, line in enumerate(lines, start=1) if line.strip() and not line.lstrip().startswith("#")]
    if not found:
        raise InputError(f"the login file '{file}' names no user; write USER:PASSWORD, one a line")
    return found


def policy_of(options: argparse.Namespace, login: Login) -> Policy:
    """A public demo where it was asked for and on a Space; else everything is open."""
    if options.demo or on_spaces():
        return Policy.public_demo(login=bool(login))
    return Policy(login=bool(login))


def host_of(options: argparse.Namespace) -> str:
    """The address to listen on: the flag, gradio's own variable (which a Space sets), else this machine alone."""
    return options.host or os.environ.get("GRADIO_SERVER_NAME") or LOOPBACK


def warnings(options: argparse.Namespace, policy: Policy) -> Sequence[str]:
    """What whoever starts the page must know."""
    said = []
    host = host_of(options)
    if (options.share or not is_loopback(host)) and not policy.login and not policy.demo:
        who = "everybody with the link" if options.share else f"everybody who reaches this machine at {host}"
        said.append(
            f"warning: no login. {who[:1].upper()}{who[1:]} can train, read files of this machine by their path, and "
            "see and delete your corpora and runs. Use --auth-file for colleagues, --demo for strangers."
        )
    if options.auth:
        said.append("note: passwords on a command line can be read by other users of this machine; see --auth-file.")
    return said


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
