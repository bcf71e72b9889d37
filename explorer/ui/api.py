"""Stable calls for other programs (gradio_client, MCP): the same as on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import gradio as gr

from ..errors import InputError
from ..limits import Limits
from .services import DEFAULT_CORPUS, Services, readable

if TYPE_CHECKING:
    from ..encoder import Kind

MAX_TEXTS = 256
"""Texts of one call of /encode."""


def build_api(services: Services) -> None:
    """Register /search, /variants, /encode and /layers."""

    def search(query: str, variants: str = "", corpus: str = DEFAULT_CORPUS, top_k: int = 10) -> dict[str, Any]:
        """Rank the documents of a corpus for a query with several embedding variants, side by side.

        Args:
            query: What to look for, in plain words.
            variants: Comma-separated names as /variants lists them; empty for the fast default ones.
            corpus: Name of a corpus, such as python-stdlib or mteb-tasks.
            top_k: Results per variant, 1 to 50.

        Returns:
            {"query", "corpus", "results": {variant: [{"rank", "id", "score", "text"}]}, "agreement"}
        """
        names = [name.strip() for name in variants.split(",") if name.strip()] or services.shelf.defaults
        try:
            return services.comparer.compare(services.library.open(corpus), query, names, int(top_k)).to_json()
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def variants() -> dict[str, Any]:
        """List the variants on the shelf: design, backbone, source, whether trained.

        Returns:
            {"variants": [...], "problems": [...]}
        """
        return {"variants": [v.to_json() for v in services.shelf.variants], "problems": services.shelf.problems}

    def encode(texts: list[str], variant: str = "", kind: str = "document") -> dict[str, Any]:
        """Turn texts into embedding vectors of unit length.

        Args:
            texts: Up to 256 texts.
            variant: A name as /variants lists them; empty for the first of the default ones.
            kind: "query" or "document": whose prompt goes before each text.

        Returns:
            {"variant", "kind", "dimension", "vectors": [[float, ...], ...]}
        """
        try:
            checked, side = _texts(texts, services.policy.limits), _kind(kind)
            name = services.shelf.find(variant or services.shelf.defaults[0]).name
            vectors = services.shelf.load(name).encode(checked, kind=side)
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return {"variant": name, "kind": kind, "dimension": vectors.shape[1], "vectors": vectors.tolist()}

    def layers(text: str, variant: str = "", kind: str = "document") -> dict[str, Any]:
        """What a variant's pooler reads of a text: weights over layers and words, contributions, every step.

        Args:
            text: The text to read.
            variant: A name as /variants lists them; empty for the first with a multi-layer pooler.
            kind: "query" or "document": whose prompt goes before the text.

        Returns:
            {"variant", "layers", "mean", "heads", "latents", "words", "contributions", "steps", ...}
        """
        try:
            chosen = variant or next(iter(readable(services)), "")
            return services.lab.read(chosen, text, _kind(kind)).to_json()
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from error

    gr.api(search, api_name="search", concurrency_limit=4)
    gr.api(variants, api_name="variants")
    gr.api(encode, api_name="encode", concurrency_limit=4)
    gr.api(layers, api_name="layers", concurrency_limit=4)


def _kind(kind: str) -> Kind:
    if kind not in ("query", "document"):
        raise InputError(f"kind is query or document, not '{str(kind)[:40]}'")
    return cast("Kind", kind)


def _texts(texts: Any, limits: Limits) -> list[str]:
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise InputError("texts is a list of at least one text")
    if len(texts) > MAX_TEXTS:
        raise InputError(f"{len(texts)} texts in one call; {MAX_TEXTS} are the most")
    for text in texts:
        limits.check_text(text)
    return texts
