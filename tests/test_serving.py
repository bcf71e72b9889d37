"""Flags, logins and warnings of app.py."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import app
from explorer import serving
from explorer.errors import InputError


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    for name in (serving.AUTH_VARIABLE, "SPACE_ID", "GRADIO_SERVER_NAME"):
        monkeypatch.delenv(name, raising=False)


def login(*flags: str) -> serving.Login:
    return serving.login_of(app.parse(list(flags)))


def test_logins_come_from_flags_a_file_and_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "users"
    file.write_text("# colleagues\n\nbo:with:colon\n  cy : spaced \n")
    monkeypatch.setenv(serving.AUTH_VARIABLE, "di:4\ned:5")
    found = login("--auth", "ann:1", "--auth-file", str(file))
    assert found == [("ann", "1"), ("bo", "with:colon"), ("cy", " spaced"), ("di", "4"), ("ed", "5")]
    assert serving.AUTH_VARIABLE not in os.environ  # background runs inherit the environment
    assert login() == []


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--auth", "ann"), "--auth: a login is USER:PASSWORD"),
        (("--auth", ":secret"), "neither of them empty"),
        (("--auth", "ann:"), "neither of them empty"),
        (("--auth", "ann:1", "--auth", "ann:2"), "'ann' is given twice"),
        (("--auth-file", "/nowhere/users"), "cannot be read"),
    ],
)
def test_a_login_that_is_none_is_said_without_the_password(flags, sentence):
    with pytest.raises(InputError, match=sentence) as refused:
        login(*flags)
    assert "secret" not in str(refused.value)


def test_an_empty_login_file_leaves_no_open_door(tmp_path):
    file = tmp_path / "users"
    file.write_text("# nobody yet\n")
    with pytest.raises(InputError, match="names no user"):
        login("--auth-file", str(file))


def test_a_demo_is_asked_for_or_runs_on_a_space(monkeypatch):
    plain = serving.policy_of(app.parse([]), [])
    assert (plain.demo, plain.login) == (False, False)
    assert serving.policy_of(app.parse(["--demo"]), []).demo
    assert serving.policy_of(app.parse([]), [("a", "b")]).login
    monkeypatch.setenv("SPACE_ID", "someone/explorer")
    assert serving.policy_of(app.parse([]), []).demo


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_this_machine_alone_needs_no_warning(host):
    assert serving.host_of(app.parse([])) == "127.0.0.1"
    options = app.parse(["--host", host])
    assert serving.warnings(options, serving.policy_of(options, [])) == []


def test_listening_elsewhere_without_a_login_is_warned_of(monkeypatch):
    for flags in (["--host", "0.0.0.0"], ["--host", "192.168.1.5"], ["--share"]):
        options = app.parse(flags)
        assert "no login" in serving.warnings(options, serving.policy_of(options, []))[0]
        assert serving.warnings(options, serving.policy_of(options, [("a", "b")])) == []
    assert serving.warnings(app.parse(["--host", "::", "--demo"]), serving.policy_of(app.parse(["--demo"]), [])) == []
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    assert "no login" in serving.warnings(app.parse([]), serving.policy_of(app.parse([]), []))[0]


def test_passwords_on_the_command_line_are_told_of():
    options = app.parse(["--auth", "a:b"])
    assert "--auth-file" in serving.warnings(options, serving.policy_of(options, [("a", "b")]))[0]


def test_a_bad_login_ends_with_one_line(tmp_path):
    done = subprocess.run([sys.executable, "app.py", "--auth", "ann"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "app.py: --auth: a login is USER:PASSWORD, with neither of them empty\n"
