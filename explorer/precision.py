"""Half precision, and float32 for what it cannot do.

bfloat16 and float16 are two to four times faster than float32 and mostly as good. Not always: in a bidirectional
forward of a causal model that was not trained for it, rounding decides which token becomes an attention sink, and one
text padded in two ways gives two vectors (SmolLM2-135M: cosine .78); activations of Gemma 3 overflow in float16. So
the vectors of every variant are compared with float32 on a few texts before the first use:

    precision = check_precision(encoder)       # Precision(asked="bfloat16", used="float32", cosine=0.784)
    precision.sentence                         # what to tell the user; empty where nothing fell back
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from .errors import InputError
from .states import StateReader
from .store import cache_dir, content_hash, whole_file

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from .encoder import PooledEncoder

LEAST_COSINE = 0.999
"""Half precision is used if every sample text's vector is at least this near to its float32 vector."""

CHECK = "1"
"""Another one where forwards are computed otherwise, so that what was compared before counts no more."""

SAMPLE = (
    "Rain is expected in the north tomorrow.",
    "how do I get a stain out of wool",
    "Yes",
    "The committee met twice in March, could not agree on the budget, and asked the treasurer for further drafts.",
    "def area(r): return 3.14159 * r ** 2  # of a circle",
    "Mitochondria produce most of the cell's adenosine triphosphate; their number varies with the tissue, from none in "
    "mature red blood cells to more than a thousand in a liver cell, and they carry a small genome of their own.",
    "What is the capital of Peru?",
    "A man in a blue shirt is standing on a ladder cleaning a window.",
)
"""Texts of different lengths: encoded in one batch, so that padding takes part."""

OVERFLOWS_IN_FLOAT16 = ("gemma2", "gemma3", "gemma3_text", "gemma3n_text", "gemma4_text", "t5", "mt5", "umt5")
"""Model types whose activations exceed the largest float16 number, 65,504; `auto` never chooses float16 for them."""


@dataclass(frozen=True)
class Precision:
    """In which precision a variant runs, and why."""

    asked: str
    """Of the backbone: float32, bfloat16 or float16."""
    used: str
    cosine: float | None = None
    """Lowest cosine of half-precision and float32 vectors of the sample; None where nothing had to be compared."""
    reason: str = ""
    """Why half precision could not be judged by its vectors: not finite, or no memory for float32."""

    @property
    def sentence(self) -> str:
        """What a user should know; empty if the variant runs as asked and was checked."""
        if self.used != self.asked:
            found = self.reason or f"lowest cosine to float32 {self.cosine:.3f} on {len(SAMPLE)} sample texts"
            return f"{self.asked} changes its vectors ({found}), so it runs in {self.used}, which takes longer."
        return f"Its vectors in {self.asked} were not compared with float32: {self.reason}." if self.reason else ""


class HalfPrecisionEncoder(Protocol):
    """What the check needs of an encoder."""

    name: str
    backbone: Any

    def embed(self, texts: list[str], exact: bool) -> Tensor:
        """Unit vectors [n, d] of the texts in one batch; `exact`: in float32."""
        ...


def known_precision(encoder: PooledEncoder) -> Precision:
    """As `check_precision`; what was compared is kept on disk, and found again for the same variant and machine."""
    backbone = encoder.backbone
    on_gpu = backbone.device.type == "cuda"
    machine = torch.cuda.get_device_name(backbone.device) if on_gpu else torch.backends.cpu.get_cpu_capability()
    asked = (CHECK, encoder.fingerprint, repr(encoder.texts), str(backbone.dtype), machine, torch.__version__)
    file = cache_dir("precision") / f"{content_hash(asked)[:40]}.json"
    try:
        return Precision(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # not there, or damaged
        found = check_precision(encoder)
    if found.cosine is not None:
        with whole_file(file) as new:
            new.write_text(json.dumps(asdict(found)), encoding="utf-8")
    return found


def check_precision(encoder: HalfPrecisionEncoder) -> Precision:
    """Compare half precision with float32 on `SAMPLE` and choose. Raises `InputError` if float32 fails as well."""
    asked = str(encoder.backbone.dtype).removeprefix("torch.")
    if asked == "float32":
        return Precision(asked, asked)
    try:
        exact = encoder.embed(list(SAMPLE), exact=True)
    except torch.OutOfMemoryError:
        return Precision(asked, asked, reason="there is not enough memory for both")
    try:
        half = encoder.embed(list(SAMPLE), exact=False)
    except InputError as error:
        return Precision(asked, "float32", reason=str(error).partition("; use --dtype")[0])
    if not torch.isfinite(half).all():
        return Precision(asked, "float32", reason="some are not finite numbers")
    cosine = float((half * exact).sum(1).min())
    return Precision(asked, asked if cosine >= LEAST_COSINE else "float32", cosine)


class FullPrecision:
    """The float32 weights of a backbone that runs in half precision: made when needed, dropped when not.

    On a CPU the backbone's linear layers alone are in half precision, on a GPU everything is. Where half precision
    holds the published numbers exactly (most language models are published in bfloat16), float32 is made from it.
    Otherwise the model is loaded again.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        dtype: torch.dtype,
        autocast: bool,
        original: Callable[[], PreTrainedModel] | None = None,
    ) -> None:
        """Bring the weights of `model` to `dtype`; `original` loads it again in float32."""
        self._half: dict[str, nn.Parameter] = {}
        self._kept: dict[str, Tensor] = {}  # float32 of what half precision rounds, if it cannot be loaded again
        self._full: dict[str, Tensor] = {}
        self._original, self._lossless = original, True
        if dtype == torch.float32:
            return
        named = dict(model.named_parameters())
        if autocast:
            # Autocast would make this copy for every batch: the products are the same, the memory is less.
            linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
            named = {name: p for name, p in named.items() if name.rpartition(".")[0] in set(linear)}
        for name, parameter in named.items():
            before = parameter.data
            parameter.data = before.to(dtype)
            self._half[name] = parameter
            if autocast and not torch.equal(parameter.data.float(), before):
                self._lossless = False
                if original is None:
                    self._kept[name] = before
        if not autocast:
            self._lossless = getattr(model.config, "dtype", None) == dtype and original is None

    @property
    def bytes(self) -> int:
        """Bytes of the float32 weights that are held now."""
        held = {t.data_ptr(): t.numel() * t.element_size() for t in (*self._full.values(), *self._kept.values())}
        return sum(held.values())

    @contextmanager
    def used(self, exact: bool, reader: StateReader) -> Iterator[None]:
        """Run what follows in float32 if `exact`. Only under the backbone's lock: the weights are exchanged."""
        if not exact or not self._half:
            yield
            return
        full = self._full = self._full or self._load()
        before = {name: parameter.data for name, parameter in self._half.items()}
        dtype, autocast = reader.dtype, reader.autocast
        try:
            for name, parameter in self._half.items():
                parameter.data = full[name]
            reader.dtype, reader.autocast = torch.float32, False
            yield
        finally:
            for name, parameter in self._half.items():
                parameter.data = before[name]
            reader.dtype, reader.autocast = dtype, autocast

    def drop(self) -> None:
        """Free the float32 weights; the next use makes them again."""
        self._full = {}

    def _load(self) -> dict[str, Tensor]:
        if self._lossless or self._original is None:
            return {name: self._kept.get(name, p.data.float()) for name, p in self._half.items()}
        model = self._original()
        named = dict(getattr(model, "language_model", model).named_parameters())
        return {name: named[name].data.to(p.device) for name, p in self._half.items()}
