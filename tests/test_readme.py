"""README says what is there: its files, its pictures, and commands that the command line understands."""

from __future__ import annotations

import re
import shlex

import pytest
import readme_files

from explorer.__main__ import build_parser

README = readme_files.README.read_text(encoding="utf-8")
ONE_LINE = README.replace("\\\n", " ")
COMMANDS = sorted(
    {line.split("#")[0].strip() for line in re.findall(r"bin/python -m explorer (.+)", ONE_LINE) if "…" not in line}
)


def test_every_file_has_its_line():
    assert readme_files.written() == README, "python tests/readme_files.py writes the list anew"


def test_pictures_are_there():
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert pictures
    assert [p for p in pictures if not (readme_files.ROOT / p).is_file()] == []


def test_links_lead_somewhere():
    links = re.findall(r"(?<!!)\[[^\]]+\]\((?!http|#)([^)]+)\)", README)
    assert [link for link in links if not (readme_files.ROOT / link).exists()] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command):
    options = build_parser().parse_args(shlex.split(command))
    assert options.run
