"""One training run, from the data to the finished variant; imported only when something is trained."""

from __future__ import annotations

import copy
import json
import math
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.losses.gradcache import RandContext
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader
from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging as hf_logging

from .backbone import Backbone, dtype_name, pick_device
from .checkpointing import WholeCheckpoints
from .embeddings import read_vectors
from .encoder import Encoder, PooledEncoder, TextSettings, check_room, is_out_of_memory
from .errors import InputError
from .evaluation.scored_pairs import read_scored_pairs
from .instructions import read_instructions, template_of
from .precision import Precision
from .store import cache_dir, content_hash, whole_file
from .training import ASKED, Result, Stop, check_disk, checkpoints, commit
from .training_config import TrainingConfig
from .training_data import Pair, Pairs, hold_out, plan_batches, read_pairs
from .training_model import ADAPTER, Collator, GuideVectors, build, make_loss, sentence_transformer
from .training_report import (
    History,
    Reporter,
    about_data,
    dev_scores,
    dev_spearman,
    duration,
    layer_weights,
    model_card,
    training_record,
)

PUBLISHED_ALIAS = "published"
WEIGHTS, BEST, HISTORY = "trained.safetensors", "best.safetensors", "history.json"
LONGEST_OF = 20
"""Batches among which the one with most text is looked for, to measure memory."""


class Run:
    """Prepared by `__init__` (data, model, plan), then `estimate` or `train`."""

    def __init__(
        self, config: TrainingConfig, output: Path, stop: Stop, resume: bool = False, estimate_only: bool = False
    ) -> None:
        self.asked, self.config = config, config
        self.output, self.stop, self.estimate_only = output, stop, estimate_only
        self.processes = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.reporter = Reporter(config, output, first=self.rank == 0)
        hf_logging.set_verbosity_error()
        warnings.filterwarnings("ignore", category=FutureWarning)  # what the libraries will change among themselves
        hf_logging.disable_progress_bar()
        self.about_data = about_data(config.data_card)
        self.scored = read_scored_pairs(Path(config.dev_sts))[0] if config.dev_sts else []
        self.data, self.dev = self._read()
        self.config = config = replace(config, batch_size=self._batch_size())
        self.backbone = load_backbone(config)
        self.module = build(config, self.backbone)
        self.texts = self._texts()
        self.plan = plan_batches(self.data, config.batch_size, config.max_steps, config.seed)
        self.parameters = sum(p.numel() for p in self.module.trained().values())
        self.reporter.say(f"{self.parameters:,} parameters are trained on {self.backbone.device.type}")
        whole = checkpoints(output) if resume else []
        self.resumed_from = whole[-1] if whole else None
        if self.rank == 0 and not estimate_only:
            self._prepare_folder(resume)
        self.encoder = self._encoder()
        guide = guide_vectors(config, self.data, self.plan, self.encoder, self.reporter)
        self.trainer = make_trainer(self, Collator(self.backbone, self.texts, guide))

    # -- preparation

    def _read(self) -> tuple[Pairs, tuple[Pair, ...]]:
        config = self.config
        instructions = read_instructions(config.query_instructions) if config.query_instructions else {}
        data = read_pairs(config.data, config.columns, config.negatives, instructions)
        if config.hard_negatives:
            data = with_mined_negatives(data, config, self.processes, self.reporter)
        train, dev = hold_out(data, config.dev_share if config.eval_every else 0.0, config.dev_pairs)
        for note in train.notes:
            self.reporter.say(note)
        held = f", {len(dev):,} held out" if dev else ", none held out"
        self.reporter.say(f"{len(train):,} pairs to train with{held}")
        return train, dev

    def _texts(self) -> TextSettings:
        """How the variant reads texts. It takes a task's instruction as the instructions of its data were put.

        Where all queries have one and the same instruction, that is its query prompt.
        """
        config, given = self.config, {pair.instruction for pair in (*self.data.pairs, *self.dev)}
        only = next(iter(given)) if len(given) == 1 else ""
        texts = TextSettings(
            min(config.max_length, self.backbone.max_length),
            only or config.query_prompt,
            config.document_prompt,
            config.tokens,
            template_of(given - {""}),
        )
        for instruction in sorted(given):
            check_room(self.backbone, replace(texts, query_prompt=instruction), "query")
        return texts

    def _batch_size(self) -> int:
        """What was asked for, or as many different pairs as there are; each process takes an equal part."""
        size = min(self.config.batch_size, self.data.most_per_batch)
        size -= size % self.processes
        if size < max(2, self.processes):
            raise InputError(f"{self.data.most_per_batch} different pairs are too few for {self.processes} processes")
        if size < self.config.batch_size and self.config.batch_size % self.processes:
            raise InputError(f"batch_size {self.config.batch_size} is no multiple of the {self.processes} processes")
        if size < self.config.batch_size:
            self.reporter.say(f"the data has only {size} different pairs for a batch: batch_size is {size}")
        return size

    def _prepare_folder(self, resume: bool) -> None:
        try:
            self.output.mkdir(parents=True, exist_ok=True)
            self.stop.file.unlink(missing_ok=True)
            for left in (*self.output.glob(".*.tmp"), self.output / ".variant"):
                shutil.rmtree(left, ignore_errors=True)
            check_disk(self.output, self.parameters)
            sources = [source.to_json() for source in self.data.sources]
            asked = self.output / ASKED
            if resume and asked.exists():
                saved = json.loads(asked.read_text(encoding="utf-8"))["data"]
                if saved != sources:
                    raise InputError(f"the training data changed since the run in '{self.output}' began; start anew")
                where = self.resumed_from.name.replace("-", " ") if self.resumed_from else "the start: it had none yet"
                self.reporter.say(f"going on from {where}")
            with whole_file(asked) as temporary:
                temporary.write_text(json.dumps({"config": self.asked.to_json(), "data": sources}, indent=2) + "\n")
        except OSError as error:
            raise InputError(f"'{self.output}' cannot be written: {error.strerror or type(error).__name__}") from error

    def _encoder(self) -> PooledEncoder:
        """The model in training as an encoder. On a GPU that serves in half precision it has a pooler of its own."""
        pooler = self.module.pooler
        if self.backbone.weights_dtype != torch.float32:
            pooler = copy.deepcopy(pooler)
        dtype = dtype_name(self.backbone.dtype)
        trained_in = Precision(dtype, dtype)  # the finished variant is compared with float32 when it is loaded
        return PooledEncoder("training", self.backbone, self.config.chosen, pooler, self.texts, ADAPTER, trained_in)

    def refresh_encoder(self) -> PooledEncoder:
        """The encoder with the weights of now, ready to encode."""
        if self.encoder.pooler is not self.module.pooler:
            self.encoder.pooler.load_state_dict(self.module.pooler.state_dict())
        self.module.eval()
        return self.encoder

    # -- estimate

    def estimate(self) -> dict[str, Any]:
        """Measure a few steps, without changing anything, and tell how long all will take."""
        self.trainer.measure(self._longest())  # the first step is slow, and the longest needs the most memory
        batches = self.plan[: max(1, self.config.estimate_steps)]
        seconds = [self.trainer.measure(batch) for batch in batches]
        per_step = sum(seconds) / len(seconds)
        found = {
            "seconds_per_step": round(per_step, 3),
            "seconds": round(per_step * self.config.max_steps, 1),
            "memory_bytes": peak_memory(self.backbone.device),
            "parameters": self.parameters,
            "micro_batch": self.trainer.micro_batch,
            "pairs": len(self.data),
        }
        if self.estimate_only:
            return found
        self.reporter.write({"estimate": found, "steps": self.config.max_steps, "seconds_left": found["seconds"]})
        self.reporter.say(
            f"about {duration(found['seconds'])} for {self.config.max_steps} steps ({per_step:.2f} s each), "
            f"{found['memory_bytes'] / 2**20:,.0f} MiB of memory"
        )
        return found

    def _longest(self) -> list[int]:
        def characters(batch: list[int]) -> int:
            return sum(
                min(len(text), 6 * self.texts.max_length) for row in batch for text in self.data.pairs[row].texts
            )

        return max(self.plan[:LONGEST_OF], key=characters)

    # -- training

    def train(self) -> Result:
        """Train to the end, or until stopped; then write the variant."""
        if self.config.estimate_steps and self.resumed_from is None:
            self.estimate()
        self.stop.training = True
        self.trainer.train(resume_from_checkpoint=str(self.resumed_from) if self.resumed_from else None)
        follower = self.trainer.follower
        steps, stopped = self.trainer.state.global_step, follower.reason == "stopped"
        if self.config.patience and follower.best is not None:
            self.trainer.load_trained(follower.best)
        history = self.reporter.history
        loss = history.losses[-1][1] if history.losses else None
        dev = history.dev[-1] if history.dev else {}
        if self.rank == 0:
            self._write_variant(steps, stopped)
        self.reporter.say("stopped; add --resume to go on" if stopped else f"finished: {self.output}")
        return Result(self.output, steps, stopped, round(history.seconds, 1), loss, dev, self.parameters)

    def _write_variant(self, steps: int, stopped: bool) -> None:
        encoder = self.refresh_encoder()
        encoder.texts = replace(encoder.texts, max_length=self._serve_length())
        encoder.backbone.name = self.config.backbone
        training = training_record(
            self.config,
            self.data,
            self.dev,
            self.reporter.history,
            steps=steps,
            stopped=stopped,
            micro_batch=self.trainer.micro_batch,
            processes=self.processes,
            device=self.backbone.device,
            dtype=dtype_name(self.backbone.dtype),
        )
        new = self.output / ".variant"
        encoder.save(new, half=True, parameters=self.parameters, training=training, scores={})
        (new / "README.md").write_text(
            model_card(encoder, training, self.parameters, self.about_data), encoding="utf-8"
        )
        commit(new, self.output)
        if not stopped:
            for folder in checkpoints(self.output):
                shutil.rmtree(folder)
            (self.output / ASKED).unlink()

    def _serve_length(self) -> int:
        return min(self.config.serve_length or self.config.max_length, self.backbone.max_length)


def load_backbone(config: TrainingConfig) -> Backbone:
    """A backbone of the run's own, on this process's device, in the precision asked for."""
    local = os.environ.get("LOCAL_RANK")
    device = pick_device(config.device)
    if device.type == "cuda" and local is not None:
        device = torch.device("cuda", int(local))
    dtype = config.dtype
    if dtype == "auto":
        # float16 has no range for gradients without a scaler, which Apple's devices lack.
        dtype = "float32" if device.type == "mps" else "auto"
    if dtype == "float16" and device.type != "cuda":
        raise InputError(f"training in float16 needs a CUDA device, not {device.type}; use bfloat16 or float32")
    return Backbone.load(config.backbone, str(device), dtype)


def peak_memory(device: torch.device) -> int:
    """Bytes that this process held at most: on the GPU, else in main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource
    import sys

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# ---------------------------------------------------------------------------------------------------- guide, negatives


def load_guide(name: str, config: TrainingConfig) -> Encoder:
    """The frozen teacher: a variant on the shelf, or any sentence-transformers model."""
    from .variants import PUBLISHED, Shelf

    shelf = Shelf(config.device, config.dtype)
    wanted = PUBLISHED if name == PUBLISHED_ALIAS else name
    if wanted not in {variant.name for variant in shelf.variants} and ("/" in wanted or Path(wanted).is_dir()):
        shelf.add_contender(wanted)
    return shelf.load(wanted)


def guide_vectors(
    config: TrainingConfig, data: Pairs, plan: Sequence[Sequence[int]], student: Encoder, reporter: Reporter
) -> GuideVectors | None:
    """The guide's vectors of all texts of the plan, from the cache if another run computed them; else None."""
    if not config.guide_weight:
        return None
    guide = load_guide(config.guide, config)
    pairs = [data.pairs[row] for row in sorted({row for batch in plan for row in batch})]
    queries = list(dict.fromkeys(pair.query for pair in pairs))
    documents = list(dict.fromkeys(text for pair in pairs for text in pair.texts[1:]))
    rows = []
    for kind, texts in (("query", queries), ("document", documents)):
        path = cache_dir("guides") / f"{content_hash((guide.key(kind), kind, *texts))[:40]}.npy"  # type: ignore[arg-type]
        vectors = read_vectors(path, (len(texts), guide.dimension))
        if vectors is None:
            reporter.say(f"the guide reads {len(texts):,} {kind} texts; this is done once")
            vectors = guide.encode(texts, kind)  # type: ignore[arg-type]
            with whole_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, vectors, allow_pickle=False)
        rows.append(vectors)
    if guide.dimension != student.dimension:
        rows, kept = to_width(rows, student.dimension)
        reporter.say(f"the guide's {guide.dimension} dimensions become {student.dimension}: {kept:.1%} of it is kept")
    places = [{text: i for i, text in enumerate(texts)} for texts in (queries, documents)]
    return GuideVectors(places[0], places[1], (rows[0], rows[1]))


def to_width(rows: Sequence[np.ndarray], width: int) -> tuple[list[np.ndarray], float]:
    """Vectors [n, d] of a guide with another width d, as [n, width], and the share of their squares that is kept.

    They are turned onto their main directions (uncentred PCA over all of them), of which the first `width` are kept, or
    filled up with zeros: the best that cosines of so many numbers can copy.
    """
    together = np.concatenate(rows).astype(np.float64)
    values, directions = np.linalg.eigh(together.T @ together)  # ascending
    kept = directions[:, ::-1][:, :width]
    more = max(0, width - kept.shape[1])
    turned = [np.pad(part @ kept, ((0, 0), (0, more))).astype(np.float32) for part in rows]
    return turned, float(values[::-1][:width].sum() / values.sum())


def with_mined_negatives(data: Pairs, config: TrainingConfig, processes: int, reporter: Reporter) -> Pairs:
    """The pairs with `hard_negatives` more each, mined by sentence-transformers among all positives.

    A candidate must be at least 5 % less like the query than its positive (the rule of NV-Retriever).
    """
    if processes > 1:
        raise InputError(
            "hard negatives are mined by one process: run once without torchrun, or leave hard_negatives 0"
        )
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives

    from .designs import MINILM
    from .hub import loading, resolve

    name = MINILM if config.guide in ("", PUBLISHED_ALIAS) else config.guide
    with loading(name):
        miner = SentenceTransformer(resolve(name), device=str(pick_device(config.device)))
    reporter.say(f"mining hard negatives among {len(data):,} positives")
    asked = {"query": [p.query for p in data.pairs], "positive": [p.positive for p in data.pairs]}
    found = mine_hard_negatives(
        Dataset.from_dict(asked),
        miner,
        anchor_column_name="query",
        positive_column_name="positive",
        num_negatives=config.hard_negatives,
        relative_margin=0.05,
        range_max=10 + 5 * config.hard_negatives,
        output_format="n-tuple",
        verbose=False,
    )
    mined = {
        (row["query"], row["positive"]): tuple(v for k, v in row.items() if k not in ("query", "positive"))
        for row in found
    }
    most = max(config.negatives, config.hard_negatives)
    pairs = [
        replace(p, negatives=tuple(dict.fromkeys(p.negatives + mined.get((p.query, p.positive), ())))[:most])
        for p in data.pairs
    ]
    return replace(data, pairs=pairs)


# ------------------------------------------------------------------------------------------------------------- trainer


class PlannedBatches(BatchSampler):
    """The plan as the loader takes it. All processes see the same global batches; each takes its part of every one."""

    def __init__(self, plan: Sequence[list[int]], batch_size: int) -> None:
        self.plan, self.batch_size, self.drop_last = plan, batch_size, True

    def __iter__(self):
        return iter(self.plan)

    def __len__(self) -> int:
        return len(self.plan)


def make_trainer(run: Run, collator: Collator) -> VariantTrainer:
    """sentence-transformers' trainer with our plan, losses and checkpoints."""
    config, device = run.config, run.backbone.device
    if device.type == "cuda" and device.index is not None and run.processes == 1:
        os.environ["ACCELERATE_TORCH_DEVICE"] = str(device)
    pooler = {r"\.pooler\.": config.pooler_learning_rate} if config.chosen.trainable_pooler else {}
    arguments = SentenceTransformerTrainingArguments(
        output_dir=tempfile.gettempdir() if run.estimate_only else str(run.output),  # the trainer makes it
        max_steps=config.max_steps,
        per_device_train_batch_size=config.batch_size,
        accelerator_config={"split_batches": True},
        learning_rate=config.learning_rate,
        learning_rate_mapping=pooler,
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(config.schedule, config.schedule),
        warmup_steps=math.ceil(config.warmup * config.max_steps),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        logging_steps=config.log_every,
        logging_nan_inf_filter=False,
        save_strategy="steps" if config.save_every else "no",
        save_steps=config.save_every or config.max_steps,
        report_to=[] if config.report_to == "none" else [config.report_to],
        seed=config.seed,
        fp16=run.backbone.dtype == torch.float16,
        use_cpu=device.type == "cpu",
        ddp_backend="gloo" if device.type == "cpu" and run.processes > 1 else None,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=False,
        dataloader_drop_last=True,
        disable_tqdm=True,
    )
    _ = arguments.device  # decides the number of GPUs; several are used by torchrun, never by DataParallel
    arguments._n_gpu = min(arguments._n_gpu, 1)
    return VariantTrainer(run, arguments, collator)


class VariantTrainer(WholeCheckpoints, SentenceTransformerTrainer):
    """Batches by plan, checkpoints whole or not at all, and a smaller micro-batch where memory runs out."""

    def __init__(self, run: Run, arguments: SentenceTransformerTrainingArguments, collator: Collator) -> None:
        self.run, self.config = run, run.config
        self.rows = run.config.batch_size // run.processes
        self.micro_batch = min(run.config.micro_batch, self.rows)
        self.follower = Follower(run)
        model = sentence_transformer(run.module)
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=[],
            loss=self._loss(model),
            data_collator=collator,  # type: ignore[arg-type]
            callbacks=[self.follower],
        )
        self.remove_callback(PrinterCallback)

    def preprocess_dataset(self, dataset: Any = None, dataset_name: str | None = None) -> Any:
        return dataset  # the plan has checked everything

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """The variant gets a card of our own."""

    def _loss(self, model: nn.Module) -> nn.Module:
        return make_loss(model, self.config, self.rows, self.micro_batch, self.run.processes)

    def get_train_dataloader(self) -> DataLoader:
        self.accelerator.even_batches = False
        loader: DataLoader = DataLoader(
            self.run.data.pairs,  # type: ignore[arg-type]
            batch_sampler=PlannedBatches(self.run.plan, self.config.batch_size),
            collate_fn=self.data_collator,
        )
        return self.accelerator.prepare(loader)

    # -- steps

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        same_dropout = RandContext(*(value for value in inputs.values() if isinstance(value, Tensor)))
        try:
            return super().training_step(model, inputs, num_items_in_batch)
        except RuntimeError as error:
            self._shrink(error)
        # Not in the handler: the error holds on to the activations that had no room.
        self._empty_cache()
        with same_dropout:
            return self.training_step(model, inputs, num_items_in_batch)

    def _empty_cache(self) -> None:
        if self.args.device.type == "cuda":
            torch.cuda.empty_cache()

    def _shrink(self, error: RuntimeError) -> None:
        """Half the micro-batch after an out-of-memory error; the gradient stays that of the whole batch."""
        if not is_out_of_memory(error):
            raise error
        if self.run.processes > 1 or self.micro_batch == 1:
            smaller = (
                "a smaller micro_batch" if self.micro_batch > 1 else "a smaller max_length or --gradient-checkpointing"
            )
            raise InputError(f"memory ran out with {self.micro_batch} pairs at once; use {smaller}") from error
        self.micro_batch = -(-self.micro_batch // 2)
        self.run.module.zero_grad()
        self.loss = self._loss(self.model)  # type: ignore[assignment]
        self.run.reporter.say(
            f"out of memory: going on with {self.micro_batch} pairs at once; a step is still {self.rows} pairs"
        )

    def measure(self, batch: Sequence[int]) -> float:
        """Seconds of one forward and backward pass over a batch; weights and random numbers stay as they were."""
        part = batch[self.run.rank * self.rows : (self.run.rank + 1) * self.rows]
        while True:
            self.model.train()
            try:
                with torch.random.fork_rng():
                    start = time.perf_counter()
                    inputs = self._prepare_inputs(self._collate(part))
                    self.accelerator.backward(self.compute_loss(self.model, inputs))
                    if self.args.device.type == "cuda":
                        torch.cuda.synchronize()
                    return time.perf_counter() - start
            except RuntimeError as error:
                self._shrink(error)
            finally:
                self.run.module.zero_grad()
            self._empty_cache()

    def _collate(self, rows: Sequence[int]) -> dict[str, Any]:
        return self.data_collator([self.run.data.pairs[row] for row in rows])  # type: ignore[misc]

    # -- checkpoints

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.run.output)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.trained(), folder / WEIGHTS)
        if self.follower.best is not None:
            save_file(self.follower.best, folder / BEST)
        (folder / HISTORY).write_text(json.dumps(asdict(self.run.reporter.history)), encoding="utf-8")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = Path(resume_from_checkpoint)
        self.load_trained(load_file(folder / WEIGHTS))
        if (folder / BEST).exists():
            self.follower.best = load_file(folder / BEST)
        self.follower.resumed = History(**json.loads((folder / HISTORY).read_text(encoding="utf-8")))

    def trained(self) -> dict[str, Tensor]:
        """A copy of all trained weights, in main memory."""
        return {name: p.detach().cpu().clone() for name, p in self.run.module.trained().items()}

    def load_trained(self, tensors: dict[str, Tensor]) -> None:
        """Put such a copy back."""
        with torch.no_grad():
            for name, parameter in self.run.module.trained().items():
                parameter.copy_(tensors[name])


class Follower(TrainerCallback):
    """Measures and reports along the way, and ends the run when it is asked to."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.reason = ""
        """Why the run ended before its last step: "stopped" or "patience"."""
        self.best: dict[str, Tensor] | None = None
        self.resumed: History | None = None
        self._out_of_patience = False

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        reporter = self.run.reporter
        reporter.start(self.resumed or History(), state.global_step)
        if self.resumed is None and self.run.rank == 0:
            reporter.step(0, self._measured(0))

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        wish = self._agreed(1 if self.run.stop else 2 if self._out_of_patience else 0)
        if wish and state.global_step < self.run.config.max_steps:
            self.reason = "stopped" if wish == 1 else "patience"
            control.should_training_stop = control.should_save = True
        every = self.run.config.eval_every
        if control.should_training_stop or (every and state.global_step % every == 0):
            control.should_log = True

    def _agreed(self, wish: int) -> int:
        """All processes stop at the same step: the wish that is strongest counts."""
        if self.run.processes == 1:
            return wish
        wishes = torch.tensor([wish and 3 - wish], device=self.run.backbone.device)
        dist.all_reduce(wishes, op=dist.ReduceOp.MAX)
        return int(wishes) and 3 - int(wishes)

    def on_log(
        self, args: Any, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if not logs or "loss" not in logs:
            return
        config, step, history = self.run.config, state.global_step, self.run.reporter.history
        if not math.isfinite(logs["loss"]):
            raise InputError(f"the loss is {logs['loss']} at step {step}; use smaller learning rates")
        history.losses.append((step, logs["loss"]))
        numbers = {"loss": logs["loss"], "learning_rate": logs["learning_rate"], "grad_norm": logs.get("grad_norm")}
        if config.chosen.trainable_pooler:
            ratio = config.pooler_learning_rate / config.learning_rate  # both follow one schedule
            numbers["pooler_learning_rate"] = logs["learning_rate"] * ratio
        ends = control.should_training_stop or step == config.max_steps
        if self.run.rank == 0 and config.eval_every and (ends or step % config.eval_every == 0):
            numbers |= self._measured(step)
        if self.run.rank == 0:
            self.run.reporter.step(step, numbers)

    def _measured(self, step: int) -> dict[str, Any]:
        """Scores on the held-out pairs and what the layers weigh; remembers the best weights."""
        run, history = self.run, self.run.reporter.history
        encoder = run.refresh_encoder()
        numbers: dict[str, Any] = {}
        if run.dev:
            numbers["dev"] = dev_scores(encoder, run.dev)
            if run.scored:
                numbers["dev"]["spearman"] = dev_spearman(encoder, run.scored)
            history.dev.append({"step": step, **numbers["dev"]})
            self._remember(numbers["dev"]["ndcg@10"], step)
        weights = layer_weights(run.module, encoder, run.dev or run.data.pairs)
        if weights is not None:
            numbers["layer_weights"] = weights
            history.layer_weights.append({"step": step, "weights": weights})
        return numbers

    def _remember(self, score: float, step: int) -> None:
        config, history = self.run.config, self.run.reporter.history
        if not config.patience or step == 0:
            return
        if score > history.best:
            history.best, history.waited = score, 0
            self.best = self.run.trainer.trained()
            return
        history.waited += 1
        self._out_of_patience = history.waited >= config.patience
