r"""Training steps a second: ours against a plain sentence-transformers LoRA script; same model, data, batch, one run.

    python tests/benchmarks/bench_training.py PAIRS.jsonl.gz [--backbone minilm] [--steps 10] [--dtype float32]
    python tests/benchmarks/bench_training.py PAIRS.jsonl.gz --backbone smollm2 --dtype bfloat16 --max-length 64 \
        --designs mean-causal multi-layer-bidirectional

The plain script does what the documentation of sentence-transformers says: a SentenceTransformer with an adapter of
peft, its trainer, the multiple-negatives loss, and in bfloat16 the trainer's autocast. `padded` is our trainer without
packing (explorer/packing.py). Each contender runs in a process of its own, whose largest memory is printed; the median
of `--steps` steps after a warm-up of two counts. The share of the ceiling is what the matrix products of the real
tokens (forward, and backward to the inputs: four times weights times tokens) would take at the speed that the machine
reaches on products of these shapes. `--cpu-time` counts processor seconds, for a busy machine (OMP_NUM_THREADS=1).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import torch
from transformers import TrainerCallback

from explorer.designs import MINILM, SMOLLM2
from explorer.hub import resolve
from explorer.training import Stop
from explorer.training_config import TrainingConfig
from explorer.training_run import Run

BACKBONES = {"minilm": MINILM, "smollm2": SMOLLM2}
WARM_UP = 2


class Clock(TrainerCallback):
    """Seconds of every step but the first ones."""

    def __init__(self, processor: bool) -> None:
        self.seconds: list[float] = []
        self._now = time.process_time if processor else time.perf_counter
        self._last = 0.0

    def on_step_end(self, args, state, control, **_) -> None:
        now = self._now()
        if state.global_step > WARM_UP:
            self.seconds.append(now - self._last)
        self._last = now


def configured(options: argparse.Namespace, name: str) -> TrainingConfig:
    """The same configuration for all."""
    return TrainingConfig(
        name,
        (options.data,),
        backbone=BACKBONES[options.backbone],
        max_steps=options.steps + WARM_UP,
        batch_size=options.batch_size,
        micro_batch=options.batch_size,
        max_length=options.max_length,
        lora_dropout=options.lora_dropout,
        device="cpu",
        dtype=options.dtype,
        eval_every=0,
        save_every=0,
        estimate_steps=0,
    )


def plain(config: TrainingConfig, clock: Clock) -> None:
    """What the documentation of sentence-transformers says to do."""
    from datasets import Dataset
    from peft import LoraConfig
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
        losses,
    )
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    with tempfile.TemporaryDirectory() as folder:
        first = Run(config, Path(folder), Stop(Path(folder)))
    rows = [first.data.pairs[row] for batch in first.plan for row in batch]
    transformer = Transformer(resolve(config.backbone), max_seq_length=config.max_length)
    transformer.modality_config.pop("message", None)  # else every text is put into the model's chat template
    model = SentenceTransformer(
        modules=[transformer, Pooling(transformer.get_embedding_dimension(), "mean")], device="cpu"
    )
    if model.tokenizer.pad_token is None:
        model.tokenizer.pad_token = model.tokenizer.eos_token
    model.add_adapter(
        LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules="all-linear",
            exclude_modules="pooler.*",
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder,
            max_steps=config.max_steps,
            per_device_train_batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            bf16=config.dtype == "bfloat16",
            disable_tqdm=True,
        )
        data = Dataset.from_dict({"query": [p.query for p in rows], "positive": [p.positive for p in rows]})
        loss = losses.MultipleNegativesRankingLoss(model)
        SentenceTransformerTrainer(
            model=model, args=arguments, train_dataset=data, loss=loss, callbacks=[clock]
        ).train()


def ours(config: TrainingConfig, clock: Clock, padded: bool) -> dict[str, float]:
    """The same by our trainer; tokens of a step and the GFLOP/s of the backbone's own products."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(config, Path(folder), Stop(Path(folder)))
        if padded:
            run.backbone.reader.packs = lambda attention: False  # type: ignore[method-assign]
        run.stop.training = True
        run.trainer.add_callback(clock)
        run.trainer.train()
        batches = [run.trainer._collate(batch) for batch in run.plan[WARM_UP:]]
    tokens = [sum(int(t.sum()) for name, t in batch.items() if name.endswith("mask")) for batch in batches]
    layers = [m for m in run.backbone.model.modules() if type(m) is torch.nn.Linear and m.weight.numel() > 1e5]
    rows = {layer.in_features: torch.randn(1024, layer.in_features).to(layer.weight.dtype) for layer in layers}
    weights, best = sum(layer.weight.numel() for layer in layers), float("inf")
    with torch.inference_mode():
        for _ in range(4):
            began = clock._now()
            for layer in layers:
                torch.nn.functional.linear(rows[layer.in_features], layer.weight)
            best = min(best, clock._now() - began)
    return {"tokens": statistics.median(tokens), "weights": weights, "speed": 2 * weights * 1024 / best}


def contend(who: str, options: argparse.Namespace) -> dict[str, float]:
    """Run one contender, here."""
    warnings.filterwarnings("ignore")
    clock, found = Clock(options.cpu_time), {}
    if who == "plain":
        plain(configured(options, options.designs[0]), clock)
    else:
        name, _, padded = who.partition(" ")
        found = ours(configured(options, name), clock, bool(padded))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {**found, "seconds": statistics.median(clock.seconds), "memory": memory}


def main() -> None:
    """Compare, or be one of those who are compared."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--backbone", choices=BACKBONES, default="minilm")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--lora-dropout", type=float, default=0.0)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--designs", nargs="+", default=["mean-bidirectional", "multi-layer-bidirectional"])
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(json.dumps(contend(options.contender, options)))
        return
    first = options.designs[0]
    found: dict[str, dict[str, float]] = {}
    for who in ("plain", f"{first} padded", *options.designs):
        command = [sys.executable, __file__, *sys.argv[1:], "--contender", who]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[who] = json.loads(done.stdout.splitlines()[-1])
    base, padded, work = found["plain"], found[f"{first} padded"], found[first]
    print(
        f"\n{options.backbone}, {options.dtype}, {options.batch_size} pairs of at most {options.max_length} tokens "
        f"({work['tokens']:.0f} real ones a step), {torch.get_num_threads()} threads; "
        f"products alone: {work['speed'] / 1e9:.0f} GFLOP/s"
    )
    print(f"{'':34} s/step  than plain  than padded  of ceiling  memory, GB")
    for who, each in found.items():
        floor = 4 * work["weights"] * work["tokens"] / work["speed"]
        print(
            f"{who:34} {each['seconds']:6.2f} {base['seconds'] / each['seconds']:10.2f}x "
            f"{padded['seconds'] / each['seconds']:11.2f}x {floor / each['seconds']:10.0%} {each['memory'] / 1e9:11.1f}"
        )


if __name__ == "__main__":
    main()
