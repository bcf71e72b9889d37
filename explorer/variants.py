"""The shelf: what can be compared, what is loaded, and what it costs in memory.

On the shelf stand the saved variants under `checkpoints/` (and further folders), the untouched published model, the
designs that mean something without training (marked so), any sentence-transformers model that was added, and BM25.
Listing reads small files only; torch is imported when something is loaded.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .designs import DEFAULT_BACKBONE, DESIGNS, MEANING, MINILM, SMOLLM2, Design, Tokens, design, reads_phrase
from .errors import InputError
from .gguf_files import line_on_stderr
from .hub import has_smollm2
from .record import read_record
from .store import CHECKPOINTS, Progress, data_dir

if TYPE_CHECKING:
    from .backbone import Backbone
    from .encoder import Encoder

log = logging.getLogger(__name__)

TRAINED_HERE = ("variants", "mine")
"""Where the page's fine-tunes put their variants, below the user's data directory."""
PUBLISHED = "minilm-published"
BM25 = "bm25"

FAST = (PUBLISHED, "multi-layer-bidirectional", "eos-causal", BM25)
"""What the command line compares before anything is chosen, as far as it is on the shelf: quick on many documents."""
SHOWN_FIRST = ("smollm2/eos-causal", "smollm2/multi-layer-bidirectional", PUBLISHED, BM25)
"""What the page compares before anything is chosen: a language model, on few documents."""

Source = Literal["checkpoint", "published", "untrained", "sentence-transformers", "lexical"]


def short_name(backbone: str) -> str:
    """A backbone's name as folder below checkpoints/: "minilm", "smollm2", else the last part of its id."""
    if backbone == MINILM:
        return "minilm"
    if backbone == SMOLLM2:
        return "smollm2"
    name = Path(backbone).name.lower().removesuffix(".gguf")
    return re.sub(r"[^a-z0-9.-]+", "-", name).strip("-.") or "backbone"


@dataclass(frozen=True)
class Variant:
    """One thing on the shelf, loaded or not."""

    name: str
    source: Source
    design: Design | None = None
    backbone: str = ""
    path: Path | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    """variant.json: texts, pooler sizes, how it was trained, scores."""

    @property
    def trained(self) -> bool:
        """Whether what distinguishes this variant was learned."""
        return self.source != "untrained"

    @property
    def scores(self) -> Mapping[str, float]:
        """Scores that came with the variant, task -> main score; empty when none are known."""
        return self.record.get("scores", {})

    @property
    def tokens(self) -> Tokens:
        """Over which tokens it takes a mean, where it takes one; the paper's choice if its record names none."""
        asked = (self.record.get("texts") or {}).get("tokens")
        return asked if asked in MEANING else "all"

    @property
    def how(self) -> str:
        """One sentence on what it is and how it came to be."""
        if self.source == "lexical":
            return "Matches words, no model: the lexical yardstick."
        if self.source == "sentence-transformers":
            return "A sentence-transformers model with its own pooling and prompts."
        assert self.design is not None
        told = f"Reads {reads_phrase(self.design, self.tokens)}, {self.design.attention} attention."
        if self.source == "published":
            return f"The published model, untouched. {told}"
        if self.source == "untrained":
            return f"Not trained: the backbone's own weights, read in a way they were not trained for. {told}"
        steps = self.record.get("training", {}).get("steps")
        return f"Trained{f' for {steps} steps' if steps else ''}. {told}"

    def to_json(self) -> dict[str, Any]:
        """As `variants --json` and the API list it; "reads" stands there where the pooler leaves a choice."""
        design = self.design
        reads = {"reads": design.reads} if design and design.pooling == "last-layer" else {}
        return {
            "name": self.name,
            "source": self.source,
            "design": design.name if design else None,
            "pooling": design.pooling if design else None,
            "attention": design.attention if design else None,
            **reads,
            "backbone": self.backbone or None,
            "tokens": self.tokens if self.design and self.design.means else None,
            "trained": self.trained,
            "how": self.how,
            "scores": dict(self.scores),
        }


@dataclass(frozen=True)
class ShelfMemory:
    """Bytes held: every backbone's weights once, and what each loaded variant adds."""

    backbones: dict[str, int]
    variants: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.backbones.values()) + sum(self.variants.values())


def untrained_name(name: str) -> str:
    """What the untrained form of a trained variant is called: smollm2-untrained/eos-causal of smollm2/eos-causal."""
    return "-untrained/".join(name.split("/", 1))


def embedded_backbones() -> tuple[str, ...]:
    """Backbones that need no network: SmolLM2, the language model, where it is on this machine, and MiniLM."""
    return (SMOLLM2, MINILM) if has_smollm2() else (MINILM,)


class Shelf:
    """Discovers, loads and unloads variants. Thread-safe; while one backbone is loaded, all else goes on."""

    def __init__(
        self,
        device: str = "auto",
        dtype: str = "auto",
        backbones: Sequence[str] = (),
        checkpoints: Sequence[Path | str] = (),
        contenders: Sequence[str] = (),
        trust_remote_code: bool = False,
    ) -> None:
        self.device, self.dtype, self.trust_remote_code = device, dtype, trust_remote_code
        self.folders = [CHECKPOINTS, data_dir(TRAINED_HERE[0]), *(Path(folder) for folder in checkpoints)]
        for folder in self.folders[2:]:
            if not folder.is_dir():
                raise InputError(f"the checkpoints folder '{folder}' does not exist")
        self.backbone_ids = list(dict.fromkeys((*embedded_backbones(), *backbones)))
        self.contenders = list(dict.fromkeys(contenders))
        self.problems: list[str] = []
        self._backbones: dict[str, Backbone] = {}
        self._loaded: dict[str, Encoder] = {}
        self._lock = threading.RLock()
        """Of the dictionaries; not held while something is loaded."""
        self._alone: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
        """By backbone: whoever loads or unloads something of it. Taken before `_lock`, never within."""
        self._dequantised: dict[str, float] = {}
        self._variants: dict[str, Variant] = {}
        self.refresh()

    # -- what there is

    def refresh(self) -> None:
        """Look at the folders again: a fine-tune may have put something there, a further folder may be gone."""
        self.folders = [*self.folders[:2], *(folder for folder in self.folders[2:] if folder.is_dir())]
        found = {v.name: v for v in self._published() + self._untrained() + self._checkpoints() + self._contenders()}
        found[BM25] = Variant(BM25, "lexical")
        with self._lock:
            self._variants = found

    def _published(self) -> list[Variant]:
        return [Variant(PUBLISHED, "published", DESIGNS["mean-bidirectional"], MINILM)]

    def _untrained(self) -> list[Variant]:
        """Fixed poolers on raw weights; MiniLM's mean-bidirectional is left out, as it is the published model."""
        return [
            Variant(f"{short_name(backbone)}-untrained/{d.name}", "untrained", d, backbone)
            for backbone in self.backbone_ids
            for d in DESIGNS.values()
            if not d.trainable_pooler and (backbone, d.name) != (MINILM, "mean-bidirectional")
        ]

    def _checkpoints(self) -> list[Variant]:
        found: list[Variant] = []
        self.problems = []
        for root in self.folders:
            for file in sorted(root.glob("*/**/variant.json")):
                name = file.parent.relative_to(root).as_posix()
                if any(part.startswith(".") for part in file.parent.relative_to(root).parts):
                    continue  # a folder that is being written
                try:
                    record = read_record(file.parent)
                    chosen = design(record["design"], record.get("reads"))
                    found.append(Variant(name, "checkpoint", chosen, record["backbone"], file.parent, record))
                except InputError as error:
                    self.problems.append(f"{name}: {error}")
                    log.warning("skipped %s: %s", name, error)
        return found

    def _contenders(self) -> list[Variant]:
        return [Variant(name, "sentence-transformers", backbone=name) for name in self.contenders]

    @property
    def variants(self) -> list[Variant]:
        """Everything on the shelf, trained ones first, those on the backbone that is shown first before others."""
        order = ("published", "checkpoint", "sentence-transformers", "untrained", "lexical")
        first = self.backbone_ids[0]
        with self._lock:
            return sorted(self._variants.values(), key=lambda v: (order.index(v.source), v.backbone != first))

    @property
    def defaults(self) -> list[str]:
        """Names of `FAST`; a design that is not trained, and would be random, is left out."""
        found = []
        for name in FAST:
            with suppress(InputError):
                found.append(self.find(name).name)
        return found

    @property
    def shown_first(self) -> list[str]:
        """`SHOWN_FIRST`, what is not trained in its untrained form; `defaults` where the language model is not here."""
        with self._lock:
            names = [name if name in self._variants else untrained_name(name) for name in SHOWN_FIRST]
            there = [name for name in names if name in self._variants]
            models = [name for name in there if self._variants[name].backbone == SMOLLM2]
        return there if models and SMOLLM2 in self.backbone_ids else self.defaults

    def find(self, name: str | None) -> Variant:
        """By name; a bare design name means the default backbone's, trained if there is one. None is no name.

        Raises `InputError` naming what is on the shelf.
        """
        home, name = short_name(DEFAULT_BACKBONE), name or ""
        with self._lock:
            for candidate in (name, f"{home}/{name}", f"{home}-untrained/{name}"):
                if candidate in self._variants:
                    return self._variants[candidate]
        if name in DESIGNS and not DESIGNS[name].trainable_pooler:
            return self._variants[PUBLISHED]  # left out of the untrained ones, as it is the published model
        if name in DESIGNS:
            raise InputError(f"there is no trained '{name}' on the shelf, and untrained its pooler would be random")
        raise InputError(
            f"no variant '{name[:80]}' on the shelf; there are: {', '.join(v.name for v in self.variants)}"
        )

    def add_backbone(self, backbone: str, progress: Progress | None = None) -> list[Variant]:
        """Put a backbone's untrained designs on the shelf; it is loaded to see that it works.

        Args:
            backbone: a folder, a GGUF file, `hub:OWNER/NAME/FILE.gguf` or a hub id.
            progress: told (done, total) tensors while a GGUF file is dequantised; by default a line on standard error.

        Raises:
            InputError: it cannot be loaded.
        """
        self._backbone(backbone, progress)
        if backbone not in self.backbone_ids:
            self.backbone_ids.append(backbone)
        self.refresh()
        return [v for v in self.variants if v.backbone == backbone]

    def add_folder(self, folder: Path) -> list[Variant]:
        """Put the variants of a further folder on the shelf; a name that stood for something else stands for these."""
        with self._lock:
            before = {v.name: v.path for v in self.variants}
            self.folders = [*(f for f in self.folders if f != folder), folder]
            self.refresh()
            added = [v for v in self.variants if v.path and folder in v.path.parents]
            old = [v.name for v in added if before.get(v.name, v.path) != v.path and v.name in self._loaded]
        for name in old:
            self.unload(name)
        return added

    def add_contender(self, model: str) -> Variant:
        """Put a sentence-transformers model (hub id or folder) on the shelf; it is loaded to see that it works."""
        if model not in self.contenders:
            self._loaded_once(Variant(model, "sentence-transformers", backbone=model))
            self.contenders.append(model)
        self.refresh()
        return self.find(model)

    # -- what is loaded

    def load(self, name: str) -> Encoder:
        """The encoder of a variant, loaded on first use. BM25 has none. Raises `InputError`."""
        variant = self.find(name)
        if variant.source == "lexical":
            raise InputError(f"'{variant.name}' matches words and makes no vectors")
        return self._loaded_once(variant)

    def _loaded_once(self, variant: Variant) -> Encoder:
        with self._alone[variant.backbone]:
            if variant.name not in self._loaded:
                encoder = self._load(variant)
                with self._lock:
                    self._loaded[variant.name] = encoder
            return self._loaded[variant.name]

    def _load(self, variant: Variant) -> Encoder:
        from .encoder import PooledEncoder, SentenceTransformerEncoder

        if variant.source == "sentence-transformers":
            return SentenceTransformerEncoder(variant.backbone, self.device, self.trust_remote_code)
        backbone = self._backbone(variant.backbone)
        if variant.path is not None:
            return PooledEncoder.load(variant.path, backbone, variant.name)
        assert variant.design is not None
        return PooledEncoder.untrained(backbone, variant.design, variant.name)

    def _backbone(self, name: str, progress: Progress | None = None) -> Backbone:
        from .backbone import Backbone

        tell = progress or line_on_stderr(name)

        def report(done: int, total: int) -> None:
            self._dequantised[name] = done / max(1, total)
            tell(done, total)

        with self._alone[name]:
            if name not in self._backbones:
                try:
                    found = Backbone.load(name, self.device, self.dtype, self.trust_remote_code, progress=report)
                finally:
                    self._dequantised.pop(name, None)
                with self._lock:
                    self._backbones[name] = found
            return self._backbones[name]

    def dequantised(self, name: str) -> float | None:
        """The share of a variant's backbone that is dequantised, while that is going on; else None."""
        return self._dequantised.get(self.find(name).backbone)

    def unload(self, name: str) -> None:
        """Free a variant; the backbone goes with its last variant."""
        # What is loaded may have left the shelf: its folder may be gone.
        name = name if name in self._loaded else self.find(name).name
        encoder = self._loaded.get(name)
        if encoder is None:
            return
        backbone = getattr(encoder, "backbone", None)
        with self._alone[name if backbone is None else backbone.name], self._lock:
            if self._loaded.pop(name, None) is None:
                return
            encoder.close()  # type: ignore[attr-defined]
            if not any(getattr(other, "backbone", None) is backbone for other in self._loaded.values()):
                self._backbones = {n: b for n, b in self._backbones.items() if b is not backbone}

    @property
    def loaded(self) -> list[str]:
        """Names of the loaded variants."""
        with self._lock:
            return list(self._loaded)

    def notes(self, names: Sequence[str] | None = None) -> dict[str, list[str]]:
        """What a user should know of how loaded variants run here: name -> sentences. Those without are left out."""
        with self._lock:
            loaded = {name: encoder for name, encoder in self._loaded.items() if names is None or name in names}
        return {name: list(encoder.notes) for name, encoder in loaded.items() if encoder.notes}

    def place(self) -> tuple[str, str]:
        """Device and dtype of what is loaded, or what was asked for."""
        with self._lock:
            for backbone in self._backbones.values():
                return str(backbone.device), str(backbone.dtype).removeprefix("torch.")
        return self.device, self.dtype

    def memory(self) -> ShelfMemory:
        """What is held now."""
        with self._lock:
            return ShelfMemory(
                {name: backbone.memory().weights for name, backbone in self._backbones.items()},
                {name: encoder.own_bytes for name, encoder in self._loaded.items()},  # type: ignore[attr-defined]
            )
