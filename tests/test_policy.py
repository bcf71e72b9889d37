"""What is closed in a public demo, and the limits: each refusal is a sentence that says what would be right."""

from __future__ import annotations

import zipfile
from typing import get_args

import pytest

from explorer.errors import InputError
from explorer.limits import Limits
from explorer.policy import CLOSED, Feature, Policy

DEMO = Policy.public_demo()


@pytest.mark.parametrize("feature", get_args(Feature))
def test_everything_is_open_on_ones_own_machine_and_closed_in_a_demo(feature, monkeypatch):
    Policy().allow(feature)
    Policy(login=True).allow(feature)
    monkeypatch.delenv("SPACE_ID", raising=False)
    with pytest.raises(InputError, match=r"on your own machine \(python app.py\)") as refused:
        DEMO.allow(feature)
    assert str(refused.value).startswith(CLOSED[feature])
    monkeypatch.setenv("SPACE_ID", "someone/explorer")
    with pytest.raises(InputError, match="Duplicate this Space"):
        DEMO.allow(feature)


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        (lambda limits: limits.check_text("x" * 2001), "2,001 characters; here 2,000"),
        (lambda limits: limits.check_queries(501), "501 queries; here 500"),
        (lambda limits: limits.check_variants(7, 10), "7 variants; here 6"),
        (lambda limits: limits.check_variants(2, 21), "between 1 and 20, not 21"),
        (lambda limits: limits.check_upload(2_500_000), r"2\.5 MB; here 2 MB"),
        (lambda limits: limits.check_documents(2001), "2,001 documents; here 2,000"),
    ],
)
def test_limits_of_a_demo(check, sentence):
    with pytest.raises(InputError, match=sentence):
        check(DEMO.limits)
    if "21" not in sentence:
        check(Limits())


def test_a_file_is_measured_unpacked(tmp_path):
    packed = tmp_path / "small.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("corpus.jsonl", "a" * 3_000_000)
    assert packed.stat().st_size < 10_000
    with pytest.raises(InputError, match=r"3\.0 MB; here 2 MB"):
        DEMO.check_file(packed)
    Policy().check_file(packed)


def test_what_unpacks_to_any_size_is_not_read_in_a_demo(tmp_path):
    table = tmp_path / "table.parquet"
    table.write_bytes(b"PAR1")
    inside = tmp_path / "x.zip"
    with zipfile.ZipFile(inside, "w") as archive:
        archive.writestr("Table.PARQUET", "x")
    for path in (table, inside):
        with pytest.raises(InputError, match="save it as CSV"):
            DEMO.check_file(path)
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK\x03\x04" + b"x" * 40 + b"PK\x05\x06" + b"\xff" * 18)
    DEMO.check_file(broken)  # whoever reads it says what is wrong
