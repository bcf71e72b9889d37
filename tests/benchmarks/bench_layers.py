"""How fast is Layers? Against what it replaces, measured in the same run.

    python tests/benchmarks/bench_layers.py [--threads N] [--documents N] [--random-states]

The variant is a multi-layer pooler on MiniLM as training starts it (its numbers mean nothing, its sizes are those of a
trained one); documents and judged queries are those of python-stdlib. With --random-states the corpus is not read: the
time is the same. Prints, in seconds of the machine's clock and of the processor:
- weights, contributions and steps of one text; beside it the floor: encoding that text and nothing more
- a query's top 100 ranked anew after a switch; beside it the peer: encoding those 100 documents again
- every single-layer ablation, removed and alone, all queries; beside it the peer: the pooler run once a setting on the
  same states, measured on a sample of the documents and scaled up
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the package sets it, which here is imported after torch
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch

from explorer.backbone import Backbone
from explorer.corpora import BUILT_IN
from explorer.designs import design
from explorer.encoder import PooledEncoder, TextSettings
from explorer.layers.ablation import Ablation
from explorer.layers.reading import read
from explorer.layers.states import LayerStates
from explorer.pooling import build_pooler

QUERY = "delete a folder and everything in it"


def seconds(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of the clock and of the processor."""
    clock, processor = [], []
    for _ in range(repeats):
        start, start_processor = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_processor)
    return median(clock), median(processor)


def show(what: str, spent: tuple[float, float], limit: float | None = None) -> None:
    told = "" if limit is None else f"   limit {limit:g} s"
    print(f"{what:58} {spent[0]:8.3f} s   processor {spent[1]:8.3f} s{told}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, help="threads of PyTorch; default: its own choice")
    parser.add_argument("--documents", type=int, help="only the first N documents, and time scaled to all is told")
    parser.add_argument("--random-states", action="store_true", help="do not read the corpus: only time is measured")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"{torch.get_num_threads()} threads; load of the machine before: {os.getloadavg()[0]:.1f}")

    corpus = BUILT_IN["python-stdlib"]()
    backbone = Backbone.load(device="cpu", dtype="float32")
    chosen = design("multi-layer-bidirectional")
    torch.manual_seed(0)
    pooler = build_pooler(chosen, backbone.width, backbone.layers)
    pooler.init_near_mean()  # type: ignore[operator, union-attr]
    encoder = PooledEncoder("bench/multi-layer", backbone, chosen, pooler, TextSettings(256))

    read(encoder, QUERY)
    show("weights, contributions and steps of one text", seconds(lambda: read(encoder, QUERY).to_json(), 9), 0.3)
    show("  floor: encoding it", seconds(lambda: encoder.encode([QUERY]), 9))

    if options.random_states:
        states = np.random.default_rng(0).normal(size=(len(corpus), 6, 384)).astype(np.float32)
    else:
        states = LayerStates().documents(encoder, corpus)
    ablation = Ablation(encoder, corpus, states)
    candidates = list(range(100))
    ablation.rerank(QUERY, [6], candidates)
    show("top 100 ranked anew after a switch", seconds(lambda: ablation.rerank(QUERY, [6], candidates), 5), 1)
    show("  peer: encoding the 100 documents again", seconds(lambda: encoder.encode(corpus.passages[:100]), 1))

    count = options.documents or len(corpus)
    settings = 1 + 2 * backbone.layers
    if count < len(corpus):
        keeps = np.vstack([np.ones((1, 6)), 1 - np.eye(6), np.eye(6)]).astype(int)
        spent = seconds(lambda: ablation.switched.vectors(states[:count], keeps), 1)
        clock, processor = (s * len(corpus) / count for s in spent)
        show(f"{settings} settings, {count} documents, scaled to {len(corpus):,}", (clock, processor), 30)
    else:
        spent = seconds(ablation.single_layers, 1)
        show(f"all single-layer ablations, {count:,} documents, {len(corpus.qrels)} queries", spent, 30)
    sample, all_on = states[:128], torch.ones(128, 6)

    def plainly() -> None:
        with torch.inference_mode():
            pooler(torch.from_numpy(sample), all_on)

    clock, processor = seconds(plainly, 2)
    scale = settings * len(corpus) / len(sample)
    show("  peer: the pooler once a setting (scaled up)", (clock * scale, processor * scale))


if __name__ == "__main__":
    main()
