"""Scores in a variant's own record and model card."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from explorer.errors import InputError
from explorer.evaluation.commands import _without_folders
from explorer.evaluation.recorded import record_scores
from explorer.evaluation.results import Evaluation
from explorer.evaluation.store import Row


def row(variant: str, task: str, score: float, sample: int | None = None) -> Row:
    return Row(
        variant, task, "STS", score, "cosine_spearman", "test", "default", 100, score - 0.01, score + 0.01,
        True, "official", sample, 1.0, "r",
    )  # fmt: skip


@pytest.fixture
def shelf(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    record = {"design": "eos-causal", "backbone": "b", "scores": {"Old": 0.5}}
    (folder / "variant.json").write_text(json.dumps(record))
    (folder / "README.md").write_text("# mine\n\n## Training\n\ntext\n\n## Use\n\ncode\n")
    paths = {"mine": folder, "minilm-published": None}
    return SimpleNamespace(find=lambda name: SimpleNamespace(path=paths[name]), folder=folder)


def evaluation(tmp_path, *rows: Row) -> Evaluation:
    made = Evaluation({}, {}, [], tmp_path)
    for one in rows:
        made.add(one, None)
    return made


def test_scores_go_into_record_and_card_and_replace_older_ones(shelf, tmp_path):
    rows = [row("minilm-published", "STS15", 0.8539), row("mine", "STS15", 0.81), row("mine", "STS14", 0.7)]
    for score in (0.81, 0.82):
        rows[1] = row("mine", "STS15", score)
        assert record_scores(shelf, evaluation(tmp_path, *rows), "python -m explorer evaluate …") == ["mine"]
    record = json.loads((shelf.folder / "variant.json").read_text())
    assert record["scores"] == {"Old": 0.5, "STS15": 0.82, "STS14": 0.7}
    assert record["design"] == "eos-causal"
    card = (shelf.folder / "README.md").read_text()
    assert card.count("## Scores") == 1
    assert card.index("## Training") < card.index("## Scores") < card.index("## Use")
    assert "| STS15 | Spearman of cosine | 0.8200 | 0.8100 to 0.8300 | 0.8539 |" in card
    assert "| STS14 | Spearman of cosine | 0.7000 | 0.6900 to 0.7100 | – |" in card
    assert "    python -m explorer evaluate …" in card
    assert card.endswith("## Use\n\ncode\n")


def test_samples_are_not_recorded(shelf, tmp_path):
    with pytest.raises(InputError, match="nothing was recorded"):
        record_scores(shelf, evaluation(tmp_path, row("mine", "STS15", 0.8, sample=50)), "")
    with pytest.raises(InputError, match="nothing was recorded"):
        record_scores(shelf, evaluation(tmp_path, row("minilm-published", "STS15", 0.8)), "")


def test_the_command_in_a_card_names_no_folder_of_this_machine():
    assert _without_folders("beir:/home/someone/cranfield") == "beir:cranfield"
    assert _without_folders("../data/cranfield") == "cranfield"
    assert _without_folders("XQuADRetrieval@validation/en") == "XQuADRetrieval@validation/en"
