"""The minimal triplets: what makes them minimal, the measure by hand, and the task of Evaluate."""

from __future__ import annotations

import json
import re
from collections import Counter

import numpy as np
import pytest
import tiny

from explorer.designs import design
from explorer.encoder import PooledEncoder
from explorer.errors import InputError
from explorer.evaluation.engine import EvaluationConfig, evaluate
from explorer.evaluation.triplets import KINDS, Triplet, read_triplets, score_triplets
from explorer.variants import Shelf

TRIPLETS = read_triplets()
FUNCTION_WORDS = set(
    "a an the of in on at to for from with by and or is are was were be has have had that which who its his her our my "
    "their we he she they i not no than after before during while if some most off up out under last me at".split()
)


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def overlap(a: str, b: str) -> float:
    """Jaccard of lower-cased words."""
    return len(words(a) & words(b)) / len(words(a) | words(b))


def of_kind(kind: str) -> list[Triplet]:
    return [t for t in TRIPLETS if t.kind == kind]


# ---- the sentences


def test_counts_and_ids() -> None:
    counts = Counter(t.kind for t in TRIPLETS)
    assert len(TRIPLETS) >= 100
    assert tuple(counts) == KINDS
    assert min(counts.values()) >= 14
    assert len({t.id for t in TRIPLETS}) == len(TRIPLETS)
    assert len({t.anchor for t in TRIPLETS}) == len(TRIPLETS)
    for t in TRIPLETS:
        assert len({t.anchor, t.positive, t.negative}) == 3, t.id
        for text in (t.anchor, t.positive, t.negative):
            assert text == " ".join(text.split())
            assert text[0].isupper() or text[0].isdigit(), t.id
            assert text.endswith("."), t.id


@pytest.mark.parametrize("kind", KINDS)
def test_shared_words_prefer_the_negative_or_nothing(kind: str) -> None:
    found = of_kind(kind)
    wrong = [t.id for t in found if overlap(t.anchor, t.positive) > overlap(t.anchor, t.negative)]
    assert len(wrong) <= 0.15 * len(found), wrong


@pytest.mark.parametrize("kind", KINDS)
def test_length_gives_nothing_away(kind: str) -> None:
    differences = [len(t.positive) - len(t.negative) for t in of_kind(kind)]
    assert abs(np.mean(differences)) <= 5  # characters
    for shorter in (1, -1):  # always taking the longer, or the shorter, is no way to be right
        assert np.mean([shorter * d > 0 for d in differences]) <= 2 / 3
    assert all(abs(len(t.positive.split()) - len(t.negative.split())) <= 4 for t in of_kind(kind))


def test_word_order_is_a_matter_of_order_alone() -> None:
    """Most often the anchor's words speak for the positive as much as for the negative."""
    same = [overlap(t.anchor, t.positive) == overlap(t.anchor, t.negative) for t in of_kind("word order")]
    assert np.mean(same) >= 0.75


def test_a_paraphrase_shares_no_content_word() -> None:
    for t in of_kind("paraphrase"):
        assert words(t.anchor) & words(t.positive) <= FUNCTION_WORDS, t.id


def test_the_decisive_word_is_where_it_is_said_to_be() -> None:
    for t in TRIPLETS:
        anchor, negative = t.anchor.lower().rstrip(".").split(), t.negative.lower().rstrip(".").split()
        if t.kind == "decisive word at the start":
            assert anchor[0] != negative[0], t.id
            assert anchor[-3:] == negative[-3:], t.id
        elif t.kind == "decisive word at the end":
            assert anchor[-1] != negative[-1], t.id
            assert anchor[:5] == negative[:5], t.id


# ---- the measure


class Fixed:
    """An encoder with given vectors."""

    name, dimension, fingerprint = "fixed", 2, "fixed"

    def __init__(self, vectors: dict[str, tuple[float, float]]) -> None:
        self.vectors = vectors

    def key(self, kind: str) -> str:
        return kind

    def encode(self, texts, kind="document", progress=None, cancel=None) -> np.ndarray:
        return np.array([self.vectors[t] for t in texts], np.float32)


def test_accuracy_by_hand() -> None:
    encoder = Fixed({"a": (1, 0), "near": (0.8, 0.6), "far": (0.6, 0.8)})
    triplets = (
        Triplet("1", "number", "a", "near", "far"),
        Triplet("2", "number", "a", "far", "near"),
        Triplet("3", "negation", "a", "near", "near"),  # a tie is wrong
    )
    scores = score_triplets(encoder, triplets)
    assert scores.margins.tolist() == pytest.approx([0.2, -0.2, 0.0])
    assert scores.right.tolist() == [True, False, False]
    assert scores.accuracy == pytest.approx(1 / 3)
    assert scores.by_kind == {"number": 0.5, "negation": 0.0}


def test_no_triplets() -> None:
    with pytest.raises(InputError, match="at least one triplet"):
        score_triplets(Fixed({}), [])


def test_the_published_model_is_neither_lost_nor_perfect(minilm) -> None:
    scores = score_triplets(PooledEncoder.untrained(minilm, design("mean-bidirectional")))
    assert 0.35 < scores.accuracy < 0.75
    assert tuple(scores.by_kind) == KINDS
    assert min(scores.by_kind.values()) > 0


# ---- the task


def test_the_task_is_the_measure(home, tmp_path) -> None:
    folder = tiny.save_backbone(tmp_path / "model", "bert")
    shelf = Shelf("cpu", "float32", backbones=[str(folder)])
    name = "model-untrained/mean-bidirectional"
    config = EvaluationConfig((name, "bm25"), ("MinimalTriplets",))
    done = evaluate(shelf, config, tmp_path / "out", quiet=True)
    row = done.rows[name]["MinimalTriplets"]
    expected = score_triplets(shelf.load(name))
    assert row.main_score == pytest.approx(expected.accuracy)
    assert (row.type, row.metric, row.n) == ("Triplets", "accuracy", len(TRIPLETS))
    assert row.low < row.main_score < row.high
    examples = done.examples["MinimalTriplets"][name]
    assert examples.values.astype(bool).tolist() == expected.right.tolist()
    worst = examples.worst(1)[0]
    assert (worst["gold"], worst["said"]) == ("positive", "negative")
    assert "MinimalTriplets" in done.not_applicable["bm25"]
    stored = [p.read_text(encoding="utf-8") for p in (tmp_path / "out").rglob("MinimalTriplets.json")]
    assert any(json.loads(text)["scores"]["test"][0]["accuracy (negation)"] >= 0 for text in stored)
