"""Two variants field by field."""

from __future__ import annotations

from pathlib import Path

from evil import EVIL

from explorer.designs import DESIGNS
from explorer.ui.variant_fields import compared, fields, shown
from explorer.variants import Shelf, Variant


def test_what_differs_comes_first_and_the_rest_is_folded(home):
    shelf = Shelf("cpu")
    a, b = shelf.find("eos-causal"), shelf.find("multi-layer-bidirectional")
    assert fields(a)["configuration", "learning rate"] == 5e-4
    assert fields(b)["pooler", "latents"] == 32
    differs, same = compared(a, b).split("<details>")
    assert "attention" in differs
    assert "latents" in differs
    assert "learning rate" not in differs.replace("pooler learning rate", "")
    assert "learning rate" in same
    gap = b.scores["STSBenchmark"] - a.scores["STSBenchmark"]
    assert f"{gap:+.3f}" in differs


def test_the_same_variant_twice():
    one = Shelf("cpu").find("bm25")
    assert "Nothing that is recorded of the two differs" in compared(one, one)


def test_values_as_they_read():
    assert [shown(v) for v in (True, 12000, 0.0005, "", None, ["a/b.csv", "c"])] == [
        "yes", "12,000", "0.0005", "–", "–", "b.csv, c",
    ]  # fmt: skip


def test_a_strange_record_is_shown_as_text():
    record = {"training": {"config": {EVIL: EVIL}, EVIL: [EVIL]}, "texts": {"query_prompt": EVIL}}
    one = Variant("a", "checkpoint", DESIGNS["eos-causal"], EVIL, Path("x"), record)
    said = compared(one, Shelf("cpu").find("bm25"))
    assert "<img" not in said
    assert said.count("&lt;img") >= 5
    assert "`" not in said
