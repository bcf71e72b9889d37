"""How fast do we encode? Against sentence-transformers at equal precision, and the machine's ceiling, in one run.

    python tests/benchmarks/bench_encode.py [--models minilm,smollm2] [--texts 600] [--repeats 3] [--threads N]
    python tests/benchmarks/bench_encode.py --openvino OTHER_ENVIRONMENT/bin/python

Mean pooling over the same weights and texts by four contenders, who take turns: ours and sentence-transformers, in
float32 and in bfloat16, sentence-transformers with its own batches of 32 texts sorted by length. `--openvino` names the
Python of an environment with `sentence-transformers[openvino]`, whose OpenVINO backend then joins in.

Printed for each, the median of the repeats: texts a second, how many times the best of the others at its precision, the
share of the ceiling, and the lowest cosine to the float32 vectors of sentence-transformers. The ceiling is what the
model's own matrix products alone reach, on 1,024 tokens at once; only the products of real tokens count as work.
`--threads 1 --processor` measures processor seconds, which hardly depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from torch import nn

from explorer.backbone import Backbone, prepare_tokenizer
from explorer.corpora import BUILT_IN
from explorer.designs import MINILM, SMOLLM2, design
from explorer.encoder import PooledEncoder, TextSettings
from explorer.hub import resolve

MODELS = {"minilm": (MINILM, "mean-bidirectional"), "smollm2": (SMOLLM2, "mean-causal")}
LENGTH = 256
CEILING_TOKENS = 1024

OPENVINO = """
import json, sys, time
from sentence_transformers import SentenceTransformer
folder, texts, repeats, clock = json.load(sys.stdin)
now = getattr(time, clock)
model = SentenceTransformer(folder, backend="openvino", device="cpu")
vectors = model.encode(texts, normalize_embeddings=True)
seconds = []
for _ in range(repeats):
    began = now()
    model.encode(texts, normalize_embeddings=True)
    seconds.append(now() - began)
json.dump([seconds, vectors.tolist()], sys.stdout)
"""


def theirs(folder: str, dtype: torch.dtype) -> SentenceTransformer:
    """Mean pooling by sentence-transformers, as its documentation says for half precision."""
    transformer = Transformer(folder, max_seq_length=LENGTH, model_kwargs={"dtype": dtype})
    transformer.modality_config.pop("message", None)  # else every text is put into the model's chat template
    model = SentenceTransformer(
        modules=[transformer, Pooling(transformer.get_embedding_dimension(), "mean")], device="cpu"
    )
    prepare_tokenizer(model.tokenizer)  # all read the same tokens, the end token among them
    return model


def ceiling(backbone: Backbone) -> tuple[int, float]:
    """Weights of all linear layers, and the FLOP/s that their products alone reach."""
    layers = [module for module in backbone.model.modules() if isinstance(module, nn.Linear)]
    weights = sum(layer.weight.numel() for layer in layers)
    inputs = {layer.in_features: torch.randn(CEILING_TOKENS, layer.in_features).to(backbone.dtype) for layer in layers}

    def seconds() -> float:
        began = NOW()
        for layer in layers:
            nn.functional.linear(inputs[layer.in_features], layer.weight)
        return NOW() - began

    with torch.inference_mode():
        seconds()
        return weights, 2 * weights * CEILING_TOKENS / min(seconds() for _ in range(5))


NOW: Callable[[], float] = time.perf_counter


def compare(name: str, options: argparse.Namespace) -> None:
    """Print the table of one model."""
    model, chosen = MODELS[name]
    folder = resolve(model)
    texts = BUILT_IN["python-stdlib"]().passages
    texts = texts[:: max(1, len(texts) // options.texts)][: options.texts]
    ways: dict[tuple[str, str], Callable[[], np.ndarray]] = {}
    ceilings = {}
    for dtype in options.dtypes.split(","):
        peer = theirs(folder, getattr(torch, dtype))
        ways["sentence-transformers", dtype] = lambda m=peer: m.encode(texts, normalize_embeddings=True)
        backbone = Backbone.load(model, device="cpu", dtype=dtype)
        encoder = PooledEncoder.untrained(backbone, design(chosen), texts=TextSettings(LENGTH))
        ways["ours", dtype] = lambda e=encoder: e.encode(texts)
        weights, ceilings[dtype] = ceiling(backbone)
    tokens = sum(len(row) for row in backbone.tokenize(texts, LENGTH))
    vectors = {way: encode() for way, encode in ways.items()}  # warm up
    seconds: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
    for _ in range(options.repeats):
        for way, encode in ways.items():
            began = NOW()
            encode()
            seconds[way].append(NOW() - began)
    if options.openvino:
        seconds["OpenVINO", "bfloat16"], vectors["OpenVINO", "bfloat16"] = openvino(peer, texts, options)
    exact = vectors.get(("sentence-transformers", "float32"), next(iter(vectors.values())))
    print(f"\n{name}, {chosen}: {len(texts)} texts, {tokens} tokens, {torch.get_num_threads()} threads")
    for dtype, speed in ceilings.items():
        print(f"ceiling in {dtype}: {speed / 1e9:.0f} GFLOP/s")
    print(f"{'':32} texts/s  GFLOP/s  of ceiling  against the best other  cosine >=")
    for (who, dtype), spent in seconds.items():
        others = [
            median(s) for (other, kind), s in seconds.items() if kind == dtype and (other == "ours") != (who == "ours")
        ]
        each = median(spent)
        flops = 2 * weights * tokens / each
        cosine = (vectors[who, dtype] * exact).sum(1).min()
        print(
            f"{who + ' ' + dtype:32} {len(texts) / each:7.1f}  {flops / 1e9:7.0f}  {flops / ceilings[dtype]:10.0%}  "
            f"{min(others, default=np.nan) / each:21.2f}x  {cosine:.5f}"
        )


def openvino(
    model: SentenceTransformer, texts: list[str], options: argparse.Namespace
) -> tuple[list[float], np.ndarray]:
    """Seconds and vectors of the OpenVINO backend in an environment of its own."""
    with tempfile.TemporaryDirectory() as folder:
        model.float().save(folder)
        asked = json.dumps([folder, list(texts), options.repeats, NOW.__name__])
        done = subprocess.run(
            [options.openvino, "-c", OPENVINO], input=asked, text=True, stdout=subprocess.PIPE, check=True,
            env={**os.environ, **({"OMP_NUM_THREADS": str(options.threads)} if options.threads else {})},
        )  # fmt: skip
    seconds, vectors = json.loads(done.stdout)
    return seconds, np.array(vectors, dtype=np.float32)


def main() -> None:
    """Compare for every model asked for."""
    global NOW
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="minilm,smollm2", help=f"of: {', '.join(MODELS)}")
    parser.add_argument("--texts", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, help="threads of PyTorch; default: its own choice")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--openvino", help="Python of an environment with sentence-transformers[openvino]")
    parser.add_argument("--processor", action="store_true", help="count processor seconds, not those of the clock")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.processor:
        NOW = time.process_time
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}")
    for name in options.models.split(","):
        compare(name, options)


if __name__ == "__main__":
    main()
