"""Training steps a second: ours against a plain sentence-transformers LoRA script, same model, data and batch, one run.

    python tests/benchmarks/bench_training.py PAIRS.jsonl.gz [--steps 6] [--rounds 2] [--dtype bfloat16]

--cpu-time counts processor seconds instead of those of the clock (for a busy machine; with OMP_NUM_THREADS=1).
Contenders take turns, so that a busy machine is unfair to none; the median step of all rounds counts, without the first
step of a round. Everything in float32 unless --dtype says otherwise (the plain script then runs under autocast, too).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import torch
from transformers import TrainerCallback

from explorer.designs import MINILM, STUDY_DESIGNS
from explorer.hub import resolve
from explorer.training import Stop
from explorer.training_config import TrainingConfig
from explorer.training_run import Run


class Clock(TrainerCallback):
    """Seconds of every step but the first."""

    now = staticmethod(time.perf_counter)

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last = 0.0

    def on_step_end(self, args, state, control, **_) -> None:
        now = Clock.now()
        if state.global_step > 1:
            self.seconds.append(now - self._last)
        self._last = now


def plain(config: TrainingConfig, rows: list) -> list[float]:
    """What the documentation of sentence-transformers says to do."""
    from datasets import Dataset
    from peft import LoraConfig
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
        losses,
    )

    model = SentenceTransformer(resolve(MINILM), device="cpu")
    model.max_seq_length = config.max_length
    model.add_adapter(
        LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules="all-linear",
            exclude_modules="pooler.*",
        )
    )
    clock = Clock()
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
            batch_sampler="no_duplicates",
        )
        data = Dataset.from_dict({"query": [p.query for p in rows], "positive": [p.positive for p in rows]})
        loss = losses.MultipleNegativesRankingLoss(model)
        SentenceTransformerTrainer(
            model=model, args=arguments, train_dataset=data, loss=loss, callbacks=[clock]
        ).train()
    return clock.seconds


def ours(config: TrainingConfig) -> list[float]:
    """The same by our trainer."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(config, Path(folder), Stop(Path(folder)))
        run.stop.training = True
        run.trainer.add_callback(clock)
        run.trainer.train()
    return clock.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--designs", nargs="+", default=["mean-bidirectional", *STUDY_DESIGNS[:5]])
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    if options.cpu_time:
        Clock.now = staticmethod(time.process_time)

    def configured(name: str) -> TrainingConfig:
        return TrainingConfig(
            name,
            (options.data,),
            max_steps=options.steps + 1,
            batch_size=options.batch_size,
            micro_batch=options.batch_size,
            device="cpu",
            dtype=options.dtype,
            eval_every=0,
            save_every=0,
            estimate_steps=0,
        )

    with tempfile.TemporaryDirectory() as folder:
        first = Run(configured("mean-bidirectional"), Path(folder), Stop(Path(folder)))
        rows = [first.data.pairs[row] for batch in first.plan for row in batch]
    contenders: dict[str, Callable[[], list[float]]] = {"plain": lambda: plain(configured("mean-bidirectional"), rows)}
    contenders |= {name: lambda name=name: ours(configured(name)) for name in options.designs}  # type: ignore[misc]
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, contender in contenders.items():
            seconds[name] += contender()
    base = statistics.median(seconds["plain"])
    mean = statistics.median(seconds.get("mean-bidirectional") or seconds["plain"])
    print(f"\n{torch.get_num_threads()} threads, {options.dtype}, {options.batch_size} pairs of at most 128 tokens")
    print(f"{'':26}  s/step  of plain  over mean pooling")
    for name, found in seconds.items():
        each = statistics.median(found)
        print(f"{name:26}  {each:6.2f}  {base / each:7.2f}x  {each / mean - 1:+.0%}")


if __name__ == "__main__":
    main()
