"""The variants on SmolLM2 that ship, whichever are there: trained alike, in small files, and shown first."""

from __future__ import annotations

from explorer.designs import SMOLLM2
from explorer.record import read_record
from explorer.store import CHECKPOINTS
from explorer.variants import SHOWN_FIRST

FOLDERS = sorted(file.parent for file in (CHECKPOINTS / "smollm2").glob("*/variant.json"))
LARGEST = 10_000_000
"""Bytes of a file that the hub takes without Git LFS."""


def test_one_that_the_page_shows_first_is_there():
    assert {f"smollm2/{folder.name}" for folder in FOLDERS} & set(SHOWN_FIRST)


def test_they_were_trained_alike_on_the_same_weights():
    configs, weights = [], set()
    for folder in FOLDERS:
        record = read_record(folder)
        config = dict(record["training"]["config"])
        assert config.pop("design") == record["design"] == folder.name
        assert record["backbone"] == SMOLLM2
        configs.append(config)
        weights.add(record["backbone_weights"])
    assert all(config == configs[0] for config in configs)
    assert len(weights) == 1


def test_none_of_their_files_is_large():
    sizes = [file.stat().st_size for folder in FOLDERS for file in folder.rglob("*") if file.is_file()]
    assert max(sizes) <= LARGEST
    assert sum(sizes) <= 10 * LARGEST
