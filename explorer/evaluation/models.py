"""Variants as mteb wants them: an encoder with prompts and cached vectors, and BM25 as a search model."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..embeddings import Embeddings
from ..encoder import Encoder, Kind, PooledEncoder, SentenceTransformerEncoder, check_room
from ..errors import Cancelled, InputError
from ..retrieval import LexicalIndex
from ..store import Cancel, Progress, content_hash
from .prompts import prompted, shown, shown_of_theirs
from .vectors import TextVectors

if TYPE_CHECKING:
    from mteb.models.model_meta import ModelMeta

    from ..corpora import Corpus
    from .tracker import Tracker

OWNER = "pooling-explorer"
PLAIN_NAME = re.compile(r"[A-Za-z0-9.]+(?:[-_/][A-Za-z0-9.]+)*")


def model_name(variant: str) -> str:
    """The variant's name as mteb shows it; different variants never share one.

    A slash becomes two dashes. Names that hold two dashes, or what no folder can hold, get a hash of themselves.
    """
    slug = re.sub(r"[^A-Za-z0-9._-]+", "--", variant)
    plain = PLAIN_NAME.fullmatch(variant) and slug == variant.replace("/", "--") and "__" not in slug
    return f"{OWNER}/{slug if plain else f'{slug[:80]}-{content_hash([variant])[:8]}'}"


def make_meta(variant: str, revision: str, dimension: int | None, kind: str = "dense") -> ModelMeta:
    """What mteb writes down about a model."""
    from mteb.models.model_meta import ModelMeta

    return ModelMeta.create_empty(
        {
            "name": model_name(variant),
            "revision": revision,
            "embed_dim": dimension,
            "similarity_fn_name": "cosine" if kind == "dense" else None,
            "model_type": [kind],
            "use_instructions": False,
        }
    )


def with_instruction(encoder: Encoder, instruction: str, always: bool, type: str = "") -> Encoder:
    """Give an encoder a task's instruction, as `prompts.RULE` says.

    Args:
        encoder: Any; models that are not of a backbone here keep their own prompts.
        instruction: The task's; empty for none.
        always: Also where the variant was trained without instructions.
        type: The task's type.

    Returns:
        The same weights with other prompts; the encoder itself where nothing changes.

    Raises:
        InputError: The instruction leaves no room for a text.
    """
    if not isinstance(encoder, PooledEncoder):
        return encoder
    texts = prompted(encoder.texts, instruction, type, always)
    if texts is encoder.texts:
        return encoder
    check_room(encoder.backbone, texts, "query")
    check_room(encoder.backbone, texts, "document")
    changed = copy.copy(encoder)
    changed.texts = texts
    return changed


class VariantModel:
    """An encoder behind mteb's EncoderProtocol. `stores`: vectors by key, to be shared by the models of one run."""

    def __init__(self, variant: str, encoder: Encoder, stores: dict[str, TextVectors] | None = None) -> None:
        self.encoder = encoder
        # Of weights and prompts: a result that was made with other prompts is not found again.
        parts = [encoder.fingerprint, encoder.key("query"), encoder.key("document")]
        if isinstance(encoder, SentenceTransformerEncoder) and encoder.model.default_prompt_name:
            parts.append(encoder.model.default_prompt_name)
        revision = content_hash(parts)[:40]
        self.mteb_model_meta = make_meta(variant, revision, encoder.dimension)
        self.tracker: Tracker | None = None
        self.cancel: Cancel | None = None
        self.encoded, self.seconds = 0, 0.0
        """Characters encoded, cached ones aside, and the time that took."""
        self.empty = 0
        """Texts of no length that came by."""
        self._vectors = {} if stores is None else stores

    def encode(self, inputs: Any, *, task_metadata: Any, prompt_type: Any = None, **_: Any) -> np.ndarray:
        """float32 [n, d]. mteb says which texts are queries and documents; where it says nothing they are alike."""
        kind: Kind | None = None
        if prompt_type is not None:
            kind = "document" if prompt_type.value == "document" else "query"
        texts = texts_of(inputs)
        empty = sum(not text.strip() for text in texts)
        if texts and empty == len(texts):
            raise InputError(f"{task_metadata.name} has no words: all {len(texts):,} texts of one part are empty")
        self.empty += empty
        store = self._store(kind)
        if self.tracker is not None:
            self.tracker.begin(sum(map(len, texts)))
        new = sum(map(len, store.missing(texts)))
        started = time.monotonic()
        vectors = store.get(texts, self.tracker.advance if self.tracker else None, self.cancel)
        self.encoded, self.seconds = self.encoded + new, self.seconds + (time.monotonic() - started if new else 0.0)
        return vectors

    def similarity(self, a: Any, b: Any) -> Any:
        """Cosines [n, m] of unit vectors."""
        import torch

        return torch.as_tensor(np.asarray(a)) @ torch.as_tensor(np.asarray(b)).T

    def similarity_pairwise(self, a: Any, b: Any) -> Any:
        """Cosines [n] of unit vectors, row by row."""
        import torch

        return (torch.as_tensor(np.asarray(a)) * torch.as_tensor(np.asarray(b))).sum(-1)

    def prompts(self, symmetric: bool) -> dict[str, str]:
        """What stands before the texts of a task; see `prompts.shown`."""
        if isinstance(self.encoder, PooledEncoder):
            return shown(self.encoder.texts, symmetric)
        return shown_of_theirs(self.encoder.model, symmetric) if hasattr(self.encoder, "model") else {}

    def know(self, corpus: Corpus) -> None:
        """Take over what searching this corpus has computed already."""
        path = Embeddings.path(self.encoder, corpus)
        store = self._store("document")
        if path.is_file() and store.missing(corpus.passages):
            different = {text: row for row, text in enumerate(corpus.passages)}
            vectors = Embeddings().documents(self.encoder, corpus)
            store.add(list(different), vectors[list(different.values())])

    def _store(self, kind: Kind | None) -> TextVectors:
        """The vectors of one kind of text."""
        encoder = self.encoder
        plain = kind is None and isinstance(encoder, SentenceTransformerEncoder)
        key = encoder.key(kind or "query")
        if plain:
            default = encoder.model.default_prompt_name  # type: ignore[attr-defined]
            key = content_hash((key, "plain", *([default] if default else [])))
        if key not in self._vectors:

            def encode(texts: Sequence[str], progress: Progress | None, cancel: Cancel | None) -> np.ndarray:
                if plain:
                    return encode_plain(encoder, texts, progress, cancel)  # type: ignore[arg-type]
                return encoder.encode(texts, kind or "query", progress, cancel)

            self._vectors[key] = TextVectors(key, encoder.dimension, encode)
        return self._vectors[key]


def encode_plain(
    encoder: SentenceTransformerEncoder, texts: Sequence[str], progress: Progress | None, cancel: Cancel | None
) -> np.ndarray:
    """A sentence-transformers model where texts are neither queries nor documents: its own default prompt applies."""
    out = np.empty((len(texts), encoder.dimension), np.float32)
    for start in range(0, len(texts), 256):
        if cancel is not None and cancel.is_set():
            raise Cancelled(f"stopped after {start} of {len(texts)} texts")
        rows = slice(start, start + 256)
        out[rows] = encoder.model.encode(list(texts[rows]), normalize_embeddings=True, show_progress_bar=False)
        if progress is not None:
            progress(min(start + 256, len(texts)), len(texts))
    return out


class LexicalModel:
    """BM25 behind mteb's SearchProtocol: for retrieval alone, there are no vectors.

    A query of which no word occurs in the documents finds nothing, and counts as 0. Of the candidates that a task
    gives for reranking, those without a word of the query come last, in no order.
    """

    def __init__(self, variant: str) -> None:
        self.mteb_model_meta = make_meta(variant, "lucene-k1.5-b0.75-english", None, "sparse")
        self.nothing = 0
        """Queries that found nothing."""
        self._ids: list[str] = []
        self._passages: list[str] = []

    def index(self, corpus: Any, **_: Any) -> None:
        """Take the documents of a task."""
        titles = corpus["title"] if "title" in corpus.column_names else [""] * len(corpus)
        self._ids = list(corpus["id"])
        self._passages = [f"{title or ''} {text}".strip() for title, text in zip(titles, corpus["text"], strict=True)]

    def search(self, queries: Any, *, top_k: int, top_ranked: Any = None, **_: Any) -> dict[str, dict[str, float]]:
        """query id -> document id -> score; among `top_ranked` (query id -> ids) only, where a task gives those."""
        ids, texts = list(queries["id"]), list(queries["text"])
        index = LexicalIndex(self._passages)
        depth = len(self._ids) if top_ranked else top_k
        found: dict[str, dict[str, float]] = {}
        for id, text in zip(ids, texts, strict=True):
            scores, rows = index.search([text], depth)
            hits = {self._ids[row]: float(s) for s, row in zip(scores[0], rows[0], strict=True) if row >= 0}
            if top_ranked and hits:
                hits = {document: hits.get(document, 0.0) for document in top_ranked.get(id, ())}
                hits = hits if any(hits.values()) else {}
            found[id] = hits  # an empty one counts: trec_eval gives it 0, and mteb divides by all queries
            self.nothing += not hits
        return found


def texts_of(inputs: Any) -> list[str]:
    """All texts of mteb's loader, at once where its data set gives them."""
    columns = getattr(getattr(inputs, "dataset", None), "column_names", None)
    if columns and "text" in columns:
        return list(inputs.dataset["text"])
    return [text for batch in inputs for text in batch["text"]]
