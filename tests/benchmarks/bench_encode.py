"""How fast do we encode? Our encoder against SentenceTransformer.encode: same weights, same texts, one run.

    python tests/benchmarks/bench_encode.py [--texts 1500] [--repeats 3] [--budgets 1024,2048,4096] [--threads N]

Prints the median seconds of alternating repeats, texts a second, and how many times faster we are; then the same for
processor seconds, which, with one thread, hardly depend on what else the machine does. SentenceTransformer
runs with its default settings, in float32, as it does out of the box. The last column is the lowest cosine between a
vector of ours and the same text's vector of theirs.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from statistics import median

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from sentence_transformers import SentenceTransformer

from explorer.backbone import Backbone
from explorer.corpora import BUILT_IN
from explorer.designs import MINILM, design
from explorer.encoder import PooledEncoder
from explorer.hub import resolve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--budgets", default="", help="token budgets to try, comma-separated; default: the encoder's own"
    )
    parser.add_argument("--threads", type=int, help="threads of PyTorch; default: its own choice")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    texts = BUILT_IN["python-stdlib"]().passages
    texts = texts[:: max(1, len(texts) // options.texts)][: options.texts]
    theirs = SentenceTransformer(resolve(MINILM), device="cpu")
    ways = {"SentenceTransformer float32": lambda: theirs.encode(texts, normalize_embeddings=True)}
    for dtype in ("float32", "bfloat16"):
        encoder = PooledEncoder.untrained(Backbone.load(device="cpu", dtype=dtype), design("mean-bidirectional"))
        for budget in [int(b) for b in options.budgets.split(",") if b] or [encoder.token_budget]:
            ways[f"ours {dtype}, {budget} tokens"] = lambda e=encoder, b=budget: e.encode(texts, token_budget=b)

    tokens = sorted(len(row) for row in encoder.backbone.tokenize(texts, encoder.texts.max_length))
    print(f"{len(texts)} texts, {sum(tokens)} tokens, median {tokens[len(tokens) // 2]}, longest {tokens[-1]}")
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}")
    vectors = {name: encode() for name, encode in ways.items()}  # warm up
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repeats):
        for name, encode in ways.items():
            start, start_processor = time.perf_counter(), time.process_time()
            encode()
            seconds[name].append(time.perf_counter() - start)
            processor[name].append(time.process_time() - start_processor)
    base = next(iter(ways))

    def times_faster(spent: dict[str, list[float]], name: str) -> float:
        return median(b / s for b, s in zip(spent[base], spent[name], strict=True))

    for name in ways:
        spent, cosine = median(seconds[name]), (vectors[name] * vectors[base]).sum(1).min()
        print(
            f"{name:32} {spent:7.2f} s {len(texts) / spent:7.0f} texts/s {times_faster(seconds, name):6.2f}x   "
            f"processor {median(processor[name]):7.2f} s {times_faster(processor, name):6.2f}x   cosine >= {cosine:.6f}"
        )


if __name__ == "__main__":
    main()
