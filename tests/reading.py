"""What the tests of Layers share: tiny variants of every design, whose poolers read unevenly, and a shelf of them."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import tiny
import torch

from explorer.corpora import Corpus, Document
from explorer.designs import DESIGNS, design
from explorer.encoder import PooledEncoder, TextSettings
from explorer.errors import InputError
from explorer.pooling import CrossAttentionPooler, PoolerConfig, build_pooler

WORDS = ["red", "green", "blue", "fox", "dog", "cat", "runs", "sleeps", "eats"]
TEXTS = [f"{a} {b} {c}" for a in WORDS[:3] for b in WORDS[3:6] for c in WORDS[6:]]


@cache
def backbone(architecture: str):
    return tiny.backbone(architecture, tiny.KERNELS[architecture][0])


@cache
def encoder(name: str, architecture: str = "bert", prompt: str = "") -> PooledEncoder:
    """A design on a tiny model. Random weights are wide, so that layers, heads and latents differ."""
    shared, chosen = backbone(architecture), design(name)
    rows = shared.layers if chosen.pooling == "multi-layer" else 0
    torch.manual_seed(5)
    pooler = build_pooler(chosen, shared.width, shared.layers, PoolerConfig(shared.width, 5, 2, 8, rows))
    if isinstance(pooler, CrossAttentionPooler):
        for parameter in pooler.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
        pooler.requires_grad_(False)
    return PooledEncoder(f"tiny/{name}", shared, chosen, pooler, TextSettings(64, prompt, prompt))


def corpus(judged: bool = True) -> Corpus:
    """27 documents in three labels; six judged queries."""
    documents = tuple(Document(f"d{i}", text, label=text.split()[0]) for i, text in enumerate(TEXTS))
    queries = {f"q{i}": TEXTS[4 * i] for i in range(6)} if judged else {}
    qrels = {f"q{i}": {f"d{4 * i}": 1, f"d{4 * i + 1}": 1} for i in range(6)} if judged else {}
    return Corpus("words", documents, queries, qrels)


class Shelf:
    """All designs on one tiny model, and BM25."""

    def __init__(self, architecture: str = "bert") -> None:
        self.encoders = {f"tiny/{name}": encoder(name, architecture) for name in DESIGNS}

    def find(self, name: str):
        full = name if name in ("bm25", *self.encoders) else f"tiny/{name}"
        if full != "bm25" and full not in self.encoders:
            raise InputError(f"no variant '{name}'")
        return SimpleNamespace(name=full, source="lexical" if name == "bm25" else "checkpoint")

    def load(self, name: str):
        found = self.find(name)
        if found.source == "lexical":
            raise InputError(f"'{found.name}' matches words and makes no vectors")
        return self.encoders[found.name]

    def notes(self, names=None):
        return {}
