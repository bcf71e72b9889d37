"""What a training run tells: its estimate, its progress, and in the end its record and model card."""

from __future__ import annotations

import copy
import importlib.metadata
import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .designs import MEANING
from .errors import InputError
from .hub import base_model
from .pooling import CrossAttentionPooler
from .progress import report
from .training_config import TrainingConfig, portable
from .training_data import Pair, Pairs

if TYPE_CHECKING:
    from .encoder import PooledEncoder
    from .evaluation.scored_pairs import ScoredPair
    from .training_model import TrainableEncoder

CURVE_POINTS = 500
"""Losses kept in the record of a finished run; progress.jsonl has all of them."""

LAYER_SAMPLE = 32
"""Texts over which the attention weights of the layers are averaged."""

PACKAGES = ("torch", "transformers", "peft", "sentence-transformers", "accelerate")


@dataclass
class History:
    """What is remembered of a run; saved with every checkpoint."""

    losses: list[tuple[int, float]] = field(default_factory=list)
    dev: list[dict[str, float]] = field(default_factory=list)
    layer_weights: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    best: float = -1.0
    """Best nDCG@10 on the held-out pairs."""
    waited: int = 0
    """Measurements since then."""

    def thinned(self) -> list[tuple[int, float]]:
        """At most `CURVE_POINTS` losses, the last one among them."""
        stride = -(-len(self.losses) // CURVE_POINTS) if self.losses else 1
        return self.losses[::-stride][::-1]


class Reporter:
    """Writes progress.jsonl and tells the person; on processes other than the first it does neither."""

    def __init__(self, config: TrainingConfig, output: Path, first: bool) -> None:
        self.config, self.output, self.first = config, output, first
        self.history = History()
        self._started = self._told = time.monotonic()
        self._before = 0.0
        self._first_step = 0

    def start(self, history: History, step: int) -> None:
        """The training loop begins, at `step` if it goes on from a checkpoint."""
        self.history, self._before, self._first_step = history, history.seconds, step
        self._started = time.monotonic()

    def say(self, sentence: str) -> None:
        """One line on standard error."""
        if self.first:
            print(sentence, file=sys.stderr, flush=True)

    def write(self, record: Mapping[str, Any]) -> None:
        """One line in progress.jsonl."""
        if self.first:
            report(record, self.output)

    def step(self, step: int, numbers: Mapping[str, Any]) -> None:
        """A step was made: its numbers, the time it took and the time that is left."""
        here = time.monotonic() - self._started
        self.history.seconds = self._before + here
        left = here / max(1, step - self._first_step) * (self.config.max_steps - step) if step else None
        record = {"step": step, "steps": self.config.max_steps, **numbers, "seconds": round(self.history.seconds, 2)}
        self.write(record if left is None else {**record, "seconds_left": round(left, 1)})
        last, dev = step == self.config.max_steps, numbers.get("dev")
        if last or dev or time.monotonic() - self._told > 2:
            self._told = time.monotonic()
            loss = f", loss {numbers['loss']:.4f}" if "loss" in numbers else ""
            score = f", held-out nDCG@10 {dev['ndcg@10']:.4f}" if dev else ""
            ahead = f", {duration(left)} left" if left and not last else ""
            self.say(f"step {step}/{self.config.max_steps}{loss}{score}{ahead}")


def duration(seconds: float) -> str:
    """Seconds in words: 42 s, 3 min, 2.1 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def encode_queries(encoder: PooledEncoder, pairs: Sequence[Pair]) -> np.ndarray:
    """Encode the queries of pairs, each with its own instruction, or with the query prompt where it has none.

    Args:
        encoder: The model.
        pairs: Pairs.

    Returns:
        Unit vectors float32 [n, d], in the order of the pairs.
    """
    out = np.empty((len(pairs), encoder.dimension), np.float32)
    for instruction in dict.fromkeys(pair.instruction for pair in pairs):
        rows = [i for i, pair in enumerate(pairs) if pair.instruction == instruction]
        asked = copy.copy(encoder)  # the same weights
        if instruction:
            asked.texts = replace(encoder.texts, query_prompt=instruction)
        out[rows] = asked.encode([pairs[i].query for i in rows], "query")
    return out


def dev_scores(encoder: PooledEncoder, dev: Sequence[Pair]) -> dict[str, float]:
    """nDCG@10 and MRR@10 of the held-out queries, each searched among all held-out positives."""
    from .measures import quality
    from .retrieval import DenseIndex, hits

    ids = [str(i) for i in range(len(dev))]
    index = DenseIndex(encoder.encode([pair.positive for pair in dev], "document"))
    scores, rows = index.search(encode_queries(encoder, dev), 10)
    run = {id: hits(scores[i], rows[i], ids) for i, id in enumerate(ids)}
    measured = quality(run, {id: {id: 1} for id in ids}, k=10)
    return {"ndcg@10": round(measured.mean("nDCG"), 5), "mrr@10": round(measured.mean("MRR"), 5)}


def dev_spearman(encoder: PooledEncoder, pairs: Sequence[ScoredPair]) -> float:
    """Spearman's rank correlation between the cosines of pairs and their scores."""
    from scipy.stats import spearmanr

    first, second, scores = zip(*pairs, strict=True)
    cosines = (encoder.encode(first, "query") * encoder.encode(second, "query")).sum(1)
    return round(float(spearmanr(cosines, scores).statistic), 5)


def layer_weights(module: TrainableEncoder, encoder: PooledEncoder, pairs: Sequence[Pair]) -> list[float] | None:
    """What share of the attention each layer gets, layers 1..L, over a fixed sample; None without such a pooler."""
    pooler = module.pooler
    if not isinstance(pooler, CrossAttentionPooler) or pooler.layer_matrix is None:
        return None
    texts = [encoder.texts.document_prompt + pair.positive for pair in pairs[:LAYER_SAMPLE]]
    ids, mask = module.backbone.pad(module.backbone.tokenize(texts, encoder.texts.max_length))
    lengths = encoder.prompt_lengths(texts, "document")
    with torch.inference_mode():
        prompts = None if lengths is None else torch.tensor(lengths, device=ids.device)
        states, state_mask = encoder.states(ids, mask, prompts, exact=False)
        _, weights = pooler(states, state_mask, return_weights=True)  # [B, heads, N, L]
    return [round(w, 5) for w in weights.mean((0, 1, 2)).tolist()]


# --------------------------------------------------------------------------------------------------------------- record


def hardware(device: torch.device) -> dict[str, Any]:
    """What it was trained on, without the machine's name."""
    found: dict[str, Any] = {"device": device.type, "cpu": cpu_name(), "threads": torch.get_num_threads()}
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def cpu_name() -> str:
    """The processor's own name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions() -> dict[str, str]:
    """Python's version and those of the libraries that decide the result."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


def training_record(
    config: TrainingConfig,
    data: Pairs,
    dev: Sequence[Pair],
    history: History,
    *,
    steps: int,
    stopped: bool,
    micro_batch: int,
    processes: int,
    device: torch.device,
    dtype: str,
) -> dict[str, Any]:
    """variant.json's "training": everything that is needed to understand the run and to do it again."""
    shown = portable(config)
    return {
        "steps": steps,
        "stopped": stopped,
        "seed": config.seed,
        "seconds": round(history.seconds, 1),
        "data": [source.to_json() for source in data.sources],
        "pairs": len(data),
        "held_out": len(dev),
        "config": shown.to_json(),
        "command": shown.command("DIR"),
        "micro_batch": micro_batch,
        "processes": processes,
        "dtype": dtype,
        "hardware": hardware(device),
        "versions": versions(),
        "curve": [[step, round(loss, 5)] for step, loss in history.thinned()],
        "dev": history.dev,
        "layer_weights": history.layer_weights,
    }


def about_data(data_card: str) -> str:
    """The text of a data card, none for no path. Raises `InputError` if it cannot be read."""
    if not data_card:
        return ""
    try:
        return Path(data_card).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the data card '{data_card}' cannot be read; give a text file") from error


def _about_prompts(training: Mapping[str, Any]) -> str:
    """What stood before the queries of each source, for the model card; nothing where nothing did."""
    rest = training["config"]["query_prompt"]
    told = [
        f"- {s['name']}: {', '.join(f'`{json.dumps(text, ensure_ascii=False)}`' for text in s['instructions'])}"
        + (f" and {more} more" if (more := s["instructions_in_all"] - len(s["instructions"])) else "")
        for s in training["data"]
        if s.get("instructions")
    ]
    if not told:
        return ""
    others = f"Other queries had `{json.dumps(rest, ensure_ascii=False)}`.\n" if rest else ""
    lines = "\n".join(told)
    return f"\nBefore the queries stood, as JSON writes it and with nothing between:\n\n{lines}\n\n{others}"


def model_card(encoder: PooledEncoder, training: Mapping[str, Any], parameters: int, about: str = "") -> str:
    """README.md of a variant; `about` is what the user says of the data."""
    design = encoder.design
    backbone = training["config"]["backbone"]
    rows = [f"| {s['name']} | {s['pairs']:,} | {s['weight']:g} | `{s['sha256'][:16]}` |" for s in training["data"]]
    dev = training["dev"][-1] if training["dev"] else None
    score = (
        f"Held-out pairs of the training data ({training['held_out']}): nDCG@10 {dev['ndcg@10']:.4f}.\n\n"
        if dev
        else ""
    )
    stopped = " (stopped early)" if training["stopped"] else ""
    means = f" A mean is taken over {MEANING[encoder.texts.tokens]}." if design.means else ""
    return f"""---
library_name: pooling-explorer
pipeline_tag: sentence-similarity
{base_model(backbone)}tags:
- sentence-similarity
- feature-extraction
- {design.name}
---

# {design.name} on {backbone}

A text-embedding variant made with Pooling Explorer: {design.pooling} pooling, {design.attention} attention
({design.note or "a baseline"}; Tang & Yang, arXiv 2409.02727). Vectors have {encoder.dimension} dimensions and unit
length; compare them by dot product. Texts are cut at {encoder.texts.max_length} tokens.{means}

{parameters:,} parameters were trained: a LoRA adapter{" and the pooler" if design.trainable_pooler else ""}.

## Training

{training["steps"]:,} steps{stopped} of {training["config"]["batch_size"]} pairs with in-batch negatives, \
{duration(training["seconds"])} on {training["hardware"].get("gpu") or training["hardware"]["cpu"]}.

{score}| data | pairs | weight | sha256 |
| --- | ---: | ---: | --- |
{chr(10).join(rows)}
{_about_prompts(training)}{chr(10) + about + chr(10) if about else ""}
Made by:

    {training["command"]}

The whole configuration, the loss curve and the versions of all libraries stand in `variant.json`.

## Use

    from pathlib import Path
    from explorer.backbone import Backbone
    from explorer.encoder import PooledEncoder

    backbone = Backbone.load("{backbone}")
    encoder = PooledEncoder.load(Path("DIR"), backbone, "mine")
    vectors = encoder.encode(["a text"])
"""
