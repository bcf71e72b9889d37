"""A GPU that is lent for a call: what is handed over is pickled, and comes back the same."""

from __future__ import annotations

import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from explorer import zero
from explorer.corpora import Corpus, Document
from explorer.embeddings import Embeddings
from explorer.variants import Shelf

MANY = Corpus("many", tuple(Document(str(i), f"text number {i} of many") for i in range(zero.ENOUGH)))
FEW = Corpus("few", MANY.documents[:3])


@pytest.fixture
def lent(monkeypatch) -> list[str]:
    """As the package `spaces` does it, in this process: arguments and results are pickled; the variants handed over."""
    handed: list[str] = []

    def gpu(duration: int):
        def decorated(function):
            def there(*arguments):
                place, variant, texts = pickle.loads(pickle.dumps(arguments))
                handed.append(variant)
                return pickle.loads(pickle.dumps(function(place, variant, texts)))

            return there

        return decorated

    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=gpu, __spec__=SimpleNamespace()))
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setattr(zero, "DEVICE", "cpu")
    monkeypatch.setattr(zero, "encode_there", zero.on_gpu(zero.encode_there))
    return handed


def test_elsewhere_a_function_stays_as_it_is(monkeypatch):
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setitem(sys.modules, "spaces", None)  # importing it fails
    assert not zero.is_lent()
    assert zero.on_gpu(len) is len


def test_many_documents_are_encoded_there_and_few_here(lent, home):
    assert zero.is_lent()
    shelf = Shelf("cpu", "float32")
    encoder = shelf.load("minilm/eos-causal")
    embeddings = Embeddings(zero.encode_with(shelf))
    embeddings.documents(encoder, FEW)
    assert lent == []
    found = embeddings.documents(encoder, MANY)
    assert lent == ["minilm/eos-causal"]
    assert np.allclose(found, encoder.encode(MANY.passages), atol=1e-5)
