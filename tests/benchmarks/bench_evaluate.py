"""How fast is encoding inside an evaluation? Ours against mteb with a plain SentenceTransformer of the same weights.

    python tests/benchmarks/bench_evaluate.py [--data-dir ../shared/data/mteb] [--tasks STSBenchmark,XQuADRetrieval]
        [--repeats 2] [--threads N]

Both run through `mteb.evaluate`; counted is what happens inside the model's `encode`, in seconds of the clock and of
the processor, which hardly depend on what else the machine does. Ours starts with an empty cache each time. float32.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import mteb
import torch
from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper
from sentence_transformers import SentenceTransformer

from explorer.backbone import Backbone
from explorer.designs import MINILM, design
from explorer.encoder import PooledEncoder
from explorer.evaluation.engine import quiet_libraries
from explorer.evaluation.models import VariantModel
from explorer.evaluation.tasks import Task, make_task
from explorer.hub import resolve


def timed(model: Any) -> dict[str, float]:
    """Counts the seconds inside `model.encode`."""
    spent = {"clock": 0.0, "processor": 0.0}
    inner = model.encode

    def encode(*arguments: Any, **options: Any) -> Any:
        clock, processor = time.perf_counter(), time.process_time()
        try:
            return inner(*arguments, **options)
        finally:
            spent["clock"] += time.perf_counter() - clock
            spent["processor"] += time.process_time() - processor

    model.encode = encode
    return spent


def run(model: Any, task: Task) -> tuple[dict[str, float], float]:
    """Seconds inside `encode`, and the main score."""
    spent = timed(model)
    with quiet_libraries():
        options: dict[str, Any] = {"show_progress_bar": False, "cache": None, "co2_tracker": False}
        found = mteb.evaluate(model, task.load(), overwrite_strategy="always", **options)
    return spent, found.task_results[0].get_score()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=Path("../shared/data/mteb"))
    parser.add_argument("--tasks", default="STSBenchmark,XQuADRetrieval")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, help="threads of PyTorch; default: its own choice")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    plain = SentenceTransformer(resolve(MINILM), device="cpu")
    encoder = PooledEncoder.untrained(Backbone.load(device="cpu", dtype="float32"), design("mean-bidirectional"))
    plain.encode(["warm up"] * 8)
    encoder.encode(["warm up"] * 8)
    print(f"{torch.get_num_threads()} threads; load of the machine before: {os.getloadavg()[0]:.1f}")
    for name in options.tasks.split(","):
        task = make_task(name, options.data_dir)
        spent: dict[str, list[dict[str, float]]] = {"plain": [], "ours": []}
        scores = {}
        for _ in range(options.repeats):
            one, scores["plain"] = run(SentenceTransformerEncoderWrapper(plain), task)
            with tempfile.TemporaryDirectory() as home:
                os.environ["POOLING_EXPLORER_HOME"] = home
                two, scores["ours"] = run(VariantModel("ours", encoder), task)
            spent["plain"].append(one)
            spent["ours"].append(two)
        print(f"{task.name}: main score {scores['plain']:.6f} (plain), {scores['ours']:.6f} (ours)")
        for what in ("clock", "processor"):
            slow, fast = (median(s[what] for s in spent[way]) for way in ("plain", "ours"))
            print(f"  {what:9}  plain {slow:7.2f} s   ours {fast:7.2f} s   ratio {slow / fast:.2f}x")


if __name__ == "__main__":
    main()
