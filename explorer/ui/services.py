"""What the tabs share: the shelf, the corpora, the engine, and threads that compute while the page shows progress."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import cache
from typing import ParamSpec, TypeVar

import numpy as np

from .. import zero
from ..comparison import Comparer, Comparison, ManyQueries, VariantProgress
from ..corpora import Corpus
from ..corpora.library import Library, query_id
from ..embeddings import Embeddings
from ..errors import Cancelled, InputError
from ..jobs import Runs
from ..layers.lab import LayerLab, StageProgress
from ..policy import Policy
from ..projection.lab import MapLab
from ..retrieval import Hit
from ..retrieval import Kind as IndexKind
from ..store import Cancel
from ..variants import TRAINED_HERE, Shelf, Variant
from . import texts
from .html import Pending
from .visitors import Visitors

log = logging.getLogger(__name__)

T = TypeVar("T")
P = ParamSpec("P")

DEFAULT_CORPUS = "everyday"
MAX_ACTIVE = 8
"""Variants that fit side by side."""
LONG_TEXT = 1200
"""Characters beyond which a text is cut anyway by most variants."""
LOOK_EVERY = 0.5
"""Seconds between two looks at running work."""
AT_ONCE = 0.15
"""Seconds within which an answer comes without anything in its place before: what is cached does not flicker."""


class Services:
    """One for the whole app; nothing of a visitor's is kept here except what a key from that visitor finds."""

    def __init__(self, shelf: Shelf, policy: Policy | None = None) -> None:
        self.shelf = shelf
        self.policy = policy or Policy()
        self.visitors = Visitors(self.policy)
        embeddings = Embeddings(zero.encode_with(shelf)) if zero.is_lent() else None
        self.comparer = Comparer(shelf, embeddings, self.policy.limits)
        self.lab = LayerLab(self.comparer)
        self.maps = MapLab(self.comparer)
        self.runs = Runs(self.visitors.temporary("runs") if self.policy.demo else None, allow=self.policy.allow)
        self.pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="compute")
        self._encoding: dict[tuple[str, str], tuple[float, float]] = {}
        self._cancels: dict[str, Cancel] = {}
        self._guard = threading.Lock()

    @property
    def library(self) -> Library:
        """The corpora of whoever makes the current call."""
        return self.visitors.library()

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start work in a thread, which still knows who called."""
        known = copy_context()
        return self.pool.submit(lambda: known.run(work, *args, **kwargs))

    def warm(self) -> None:
        """Prepare the worked example in the background, so that the first page finds it ready or under way."""

        def work() -> None:
            try:
                corpus = self.library.open(DEFAULT_CORPUS)
                for name in reversed(self.default_variants()):  # the quick ones stand last
                    self.rank(name, corpus, [texts.FIRST_QUERY[DEFAULT_CORPUS]], 10, "exact", None)
            except (InputError, Cancelled) as error:
                log.warning("the worked example could not be prepared: %s", error)

        threading.Thread(target=work, name="warm", daemon=True).start()

    def device(self) -> str:
        """The device that background runs use: what was asked for, found out where that was "auto"."""
        from ..backbone import pick_device

        return str(pick_device(self.shelf.device))

    def default_variants(self) -> list[str]:
        """What is active before anything is chosen."""
        return self.shelf.shown_first

    @property
    def most_active(self) -> int:
        """Variants that may be active at once."""
        return min(MAX_ACTIVE, self.policy.limits.variants or MAX_ACTIVE)

    # -- ranking with progress

    def rank(
        self,
        variant: str,
        corpus: Corpus,
        queries: Sequence[str],
        k: int,
        kind: IndexKind,
        cancel: Cancel | None,
        left_out: Sequence[Collection[str]] = (),
    ) -> list[list[Hit]]:
        """As `Comparer.rank`; how far the encoding is can be read by `state` from any thread."""
        return self.comparer.rank(variant, corpus, queries, k, kind, self._reporter(corpus), cancel, left_out)

    def _reporter(self, corpus: Corpus) -> VariantProgress:
        """Notes how far each variant's encoding of a corpus is, from whichever thread computes it.

        Encoders take the longest texts first, so the share that is done is counted in characters, not in texts.
        """

        @cache
        def lengths() -> np.ndarray:  # on the first report: most searches encode no document
            return np.sort([min(len(p), LONG_TEXT) + 1 for p in corpus.passages])[::-1].cumsum()

        def report(variant: str, done: int, total: int) -> None:
            key = (variant, corpus.content_hash)
            if 0 < done < total:
                share = float(lengths()[done - 1] / lengths()[-1])
                before = self._encoding.get(key)
                # a share that does not grow is a new attempt, after one that was stopped
                began = before[1] if before and before[0] < share else time.monotonic()
                self._encoding[key] = (share, began)
            else:
                self._encoding.pop(key, None)

        return report

    def state(self, variant: str, corpus: Corpus) -> Pending:
        """How far a column is."""
        if (variant, corpus.content_hash) not in self._encoding:
            share = self.shelf.dequantised(variant)
            if share is not None:
                return Pending("preparing the language model, once", share)
            loaded = variant in self.shelf.loaded
            return Pending("waiting for its turn …" if loaded else "loading the model …")
        share, began = self._encoding[variant, corpus.content_hash]
        left = max(1, round((time.monotonic() - began) / share * (1 - share)))
        return Pending(f"encoding {len(corpus):,} documents, about {left} s left", share)

    def follow(
        self,
        corpus: Corpus,
        query: str,
        variants: Sequence[str],
        k: int,
        kind: IndexKind,
        cancel: Cancel,
        same_text: bool = False,
    ) -> Iterator[tuple[Comparison, dict[str, Pending]]]:
        """Yield the columns that are ready and the state of the others until all are there.

        A variant that fails keeps its sentence in its column; the others go on. Raises `InputError` for bad input.
        """
        self.comparer.check_query(query)
        names = self.comparer.names(variants, k)
        left_out = self.comparer.itself(corpus, {query_id(corpus, query): query}, same_text)
        futures: dict[str, Future[list[list[Hit]]]] = {
            name: self.submit(self.rank, name, corpus, [query], k, kind, cancel, left_out) for name in names
        }
        shown: object = None
        wait(futures.values(), AT_ONCE)
        while True:
            ready = {n: f.result()[0] for n, f in futures.items() if f.done() and f.exception() is None}
            pending = {n: self._pending(n, f, corpus) for n, f in futures.items() if n not in ready}
            waiting = [n for n, state in pending.items() if not state.failed]
            if (list(ready), pending) != shown:
                shown = (list(ready), pending)
                found = {n: ready[n] for n in names if n in ready}
                yield Comparison(corpus, query, k, found, self.shelf.notes(list(found)), left_out[0]), pending
            if not waiting:
                return
            wait([futures[name] for name in waiting], LOOK_EVERY, FIRST_COMPLETED)

    def _pending(self, name: str, future: Future, corpus: Corpus) -> Pending:
        if not future.done():
            return self.state(name, corpus)
        error = future.exception()
        if isinstance(error, (InputError, Cancelled)):
            return Pending(str(error), failed=True)
        log.error("searching with %s failed", name, exc_info=error)
        return Pending(f"this variant failed ({type(error).__name__}); the log says more", failed=True)

    def follow_many(
        self,
        corpus: Corpus,
        queries: Mapping[str, str],
        variants: Sequence[str],
        k: int,
        kind: IndexKind,
        cancel: Cancel,
        same_text: bool = False,
    ) -> Iterator[tuple[str, ManyQueries | None]]:
        """Yield a sentence on the progress with None, and at the end the result. Raises `InputError`, `Cancelled`."""
        names = self.comparer.names(variants, k)
        future = self.submit(
            self.comparer.compare_many, corpus, queries, names, k, kind, self._reporter(corpus), cancel, same_text
        )
        shown = ""
        while not wait([future], LOOK_EVERY).done:
            message = f"Running {len(queries):,} queries through {len(names)} variants … {self._encoded(names, corpus)}"
            if message != shown:
                shown = message
                yield message, None
        yield "", future.result()

    def _encoded(self, names: Sequence[str], corpus: Corpus) -> str:
        """Which variant is encoding the corpus, and how far it is; nothing when none is."""
        for name in names:
            if (name, corpus.content_hash) in self._encoding:
                return f"{name} is {self.state(name, corpus).message}"
        return ""

    # -- any other work

    def watch(self, session: str, work: Callable[[StageProgress, Cancel], T]) -> Iterator[tuple[str, T | None]]:
        """Yield how far `work` is, as a sentence with None, and at the end its result. Raises what it raises."""
        shown = ""
        for sentence, found in self.look(work, self.begin(session)):
            if found is not None or sentence != shown:
                shown = sentence
                yield sentence, found

    def look(self, work: Callable[[StageProgress, Cancel], T], cancel: Cancel) -> Iterator[tuple[str, T | None]]:
        """As `watch`, but yields at every look, so that who follows can turn away; the work goes on until `cancel`."""
        stage = _Stage()
        future = self.submit(work, stage.report, cancel)
        while not wait([future], LOOK_EVERY).done:
            yield stage.sentence, None
        yield "", future.result()

    # -- stopping

    def begin(self, session: str) -> Cancel:
        """A fresh stop signal for a visitor's next computation."""
        with self._guard:
            self._cancels[session] = Cancel()
            while len(self._cancels) > 1000:
                self._cancels.pop(next(iter(self._cancels)))
            return self._cancels[session]

    def is_current(self, session: str, cancel: Cancel) -> bool:
        """Whether no later computation of that visitor has taken the place of this one."""
        with self._guard:
            return self._cancels.get(session) is cancel

    def left(self, session: str) -> None:
        """A visitor's page was closed. In a demo what it computes stops, and what it kept goes; elsewhere the work goes
        on, as it is of use to the next page."""
        if not self.policy.demo:
            return
        with self._guard:
            for key, cancel in self._cancels.items():
                if key == session or key.startswith(f"{session}-"):
                    cancel.set()
        self.visitors.leave(session)

    def stop(self, session: str) -> None:
        """Set a visitor's stop signal."""
        with self._guard:
            if session in self._cancels:
                self._cancels[session].set()


class _Stage:
    """What a work reports last, as a sentence with the time that is left."""

    def __init__(self) -> None:
        self.sentence = "Preparing …"
        self._name, self._began = "", 0.0

    def report(self, name: str, done: int, total: int) -> None:
        """`name` is what is being done; a new name starts the clock anew. A total of 0: there is nothing to count."""
        if not total:
            self.sentence = f"{name[:1].upper()}{name[1:]} …"
            return
        now = time.monotonic()
        if name != self._name:
            self._name, self._began = name, now
        left = (now - self._began) / done * (total - done) if done else 0.0
        ahead = f", about {max(1, round(left))} s left" if left else ""
        self.sentence = f"{name[:1].upper()}{name[1:]}: {done:,} of {total:,}{ahead} …"


def readable(services: Services) -> list[str]:
    """Variants whose layers can be read: those with a multi-layer pooler first, the user's own after ours."""
    found = [v for v in services.shelf.variants if v.source not in ("lexical", "sentence-transformers")]

    def rank(variant: Variant) -> tuple[bool, bool]:
        return variant.design is None or variant.design.pooling != "multi-layer", variant.name.startswith(
            TRAINED_HERE[1]
        )

    return [v.name for v in sorted(found, key=rank)]
