"""One pretraining run, from the text to a model that `AutoModelForCausalLM` loads; imported only when something is
pretrained.

The output folder holds, while the run goes on, `pretraining.json` (what was asked for), `work/` (tokenizer and packed
text) and the newest `checkpoint-N`; when it has ended, the model, its tokenizer, a card and `pretraining.json` with
curves.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import Qwen3Config, Qwen3ForCausalLM, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging as hf_logging

from ..backbone import dtype_name, pick_device, pick_dtype
from ..checkpointing import WholeCheckpoints
from ..errors import InputError
from ..progress import report
from ..store import whole_file
from ..training import Stop, checkpoints
from ..training_report import about_data, hardware, versions
from .card import model_card
from .config import PretrainingConfig
from .perplexity import measure
from .text import pack, read_passages, split, train_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, TrainerControl, TrainerState

RECORD, WORK = "pretraining.json", "work"
SHARD = "14MB"
"""Weights are saved in files of at most this size."""
LOWEST = 0.01
"""The learning rate at the end, as a share of its highest."""


def run(config: PretrainingConfig, output: Path, resume: bool) -> dict[str, Any]:
    """Pretrain into `output`; the record, as it stands in pretraining.json. Raises `InputError`, `Cancelled`."""
    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity_error()
    stop = Stop(output)
    with stop.listening():
        if config.threads:
            torch.set_num_threads(config.threads)
        about = about_data(config.data_card)
        tokenizer, train, held_out, sources = prepare(config, output, resume)
        stop.file.unlink(missing_ok=True)
        model = build(config, tokenizer)
        trainer = PretrainingTrainer(config, output, stop, model, train, held_out)
        whole = checkpoints(output) if resume else []
        say(
            f"{trainer.parameters:,} parameters, {train.size:,} tokens of text ({held_out.size:,} held out), "
            f"{trainer.device} in {trainer.precision}" + (f", going on from {whole[-1].name}" if whole else "")
        )
        stop.training = True
        trainer.train(resume_from_checkpoint=str(whole[-1]) if whole else None)
        if trainer.clock.stopped:
            say("stopped; add --resume to go on")
            return {"output": str(output), "stopped": True, "step": trainer.state.global_step}
        return finish(trainer, tokenizer, sources, about)


def say(sentence: str) -> None:
    """One line on standard error."""
    print(sentence, file=sys.stderr, flush=True)


# -------------------------------------------------------------------------------------------------------- preparation


def prepare(
    config: PretrainingConfig, output: Path, resume: bool
) -> tuple[PreTrainedTokenizerFast, np.ndarray, np.ndarray, dict[str, Any]]:
    """Tokenizer, packed text to train on and held out, and what is told of the text; made once, kept in `work/`."""
    from transformers import PreTrainedTokenizerFast

    work = output / WORK
    about = work / "text.json"  # written last
    if not (resume and about.exists()):
        passages = read_passages(config.text, config.docstrings)
        say(f"{len(passages):,} passages, {sum(map(len, passages)):,} characters")
        train, held_out = split(passages, config.held_out, config.seed)
        tokenizer = train_tokenizer(train[: config.tokenizer_passages], config.vocabulary, config.context)
        say(f"tokenizer of {len(tokenizer):,} tokens is trained")
        packed = pack(train, tokenizer, config.context), pack(held_out, tokenizer, config.context)
        try:
            work.mkdir(parents=True, exist_ok=True)
            tokenizer.save_pretrained(work)
            for name, array in zip(("train", "held_out"), packed, strict=True):
                np.save(work / f"{name}.npy", array)
            with whole_file(output / RECORD) as temporary:
                temporary.write_text(json.dumps({"config": config.to_json()}, indent=2) + "\n", encoding="utf-8")
            sources = {
                "files": [Path(file).name for file in config.text],
                "passages": len(train),
                "held_out_passages": len(held_out),
                "characters": sum(map(len, train)),
                "tokens": int(packed[0].size),
                "held_out_tokens": int(packed[1].size),
            }
            about.write_text(json.dumps(sources), encoding="utf-8")
        except OSError as error:
            raise InputError(f"'{output}' cannot be written: {error.strerror or type(error).__name__}") from error
    tokenizer = PreTrainedTokenizerFast.from_pretrained(work)
    rows = [np.load(work / f"{name}.npy", mmap_mode="r") for name in ("train", "held_out")]
    return tokenizer, rows[0], rows[1], json.loads(about.read_text(encoding="utf-8"))


def build(config: PretrainingConfig, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """A model with random weights from the seed, on the CPU."""
    torch.manual_seed(config.seed)
    device = pick_device(config.device)
    # torch's fused attention is several times slower than plain products on a CPU once gradients are asked for.
    kernel = "eager" if device.type == "cpu" else "sdpa"
    asked = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=config.width,
        intermediate_size=config.ffn,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        head_dim=config.head_dim,
        max_position_embeddings=config.context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    asked._attn_implementation = kernel
    return Qwen3ForCausalLM(asked)


class Sequences(Dataset):
    """Rows of packed text as the trainer takes them: every token is also a label."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        ids = torch.from_numpy(self.rows[row].astype(np.int64))
        return {"input_ids": ids, "labels": ids}


# ----------------------------------------------------------------------------------------------------------- training


def rate(share: float, warmup: float) -> float:
    """Factor of the learning rate when this share of the run is over: up in a line, down on a cosine to `LOWEST`."""
    if share < warmup:
        return max(share, 1e-3) / warmup
    over = min(1.0, (share - warmup) / (1 - warmup))
    return LOWEST + (1 - LOWEST) * (1 + math.cos(math.pi * over)) / 2


class PretrainingTrainer(WholeCheckpoints):
    """transformers' Trainer with a schedule over tokens or time, whichever is further."""

    def __init__(
        self,
        config: PretrainingConfig,
        output: Path,
        stop: Stop,
        model: Qwen3ForCausalLM,
        train: np.ndarray,
        held_out: np.ndarray,
    ) -> None:
        self.config, self.output, self.held_out = config, output, held_out
        self.device = pick_device(config.device)
        precision = pick_dtype(config.dtype, self.device)
        if precision == torch.float16:
            precision = torch.float32  # has no range for gradients without a scaler
        self.precision = dtype_name(precision)
        self.parameters = sum(p.numel() for p in model.parameters())
        self.clock = Clock(self, stop)
        if self.device.type == "cuda" and self.device.index is not None:
            os.environ["ACCELERATE_TORCH_DEVICE"] = str(self.device)
        micro = min(config.micro_batch, config.batch_size)
        arguments = TrainingArguments(
            output_dir=str(output),
            max_steps=config.steps,
            per_device_train_batch_size=micro,
            per_device_eval_batch_size=micro,
            gradient_accumulation_steps=config.batch_size // micro,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            adam_beta2=0.95,
            max_grad_norm=config.max_grad_norm,
            logging_strategy="no",  # the clock decides when
            save_strategy="no",
            eval_strategy="no",
            logging_nan_inf_filter=False,
            prediction_loss_only=True,
            bf16=precision == torch.bfloat16,
            use_cpu=self.device.type == "cpu",
            torch_compile=config.compile,
            dataloader_pin_memory=self.device.type == "cuda",
            dataloader_drop_last=True,
            report_to=[],
            seed=config.seed,
            disable_tqdm=True,
        )
        _ = arguments.device  # decides the number of GPUs; several would be DataParallel
        arguments._n_gpu = min(arguments._n_gpu, 1)
        measured = held_out[: max(1, config.measured_tokens // config.context)]
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=Sequences(train),
            eval_dataset=Sequences(measured),
            callbacks=[self.clock],
        )
        self.remove_callback(PrinterCallback)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer,  # type: ignore[arg-type]
                lambda step: rate(self.clock.share(step), self.config.warmup),
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The time is written into the trainer's state, where a resumed run finds it."""
        super().log({**logs, "seconds": round(self.clock.seconds, 2)}, start_time)

    def tokens(self, steps: int) -> int:
        """Tokens seen in so many steps."""
        return steps * self.config.batch_size * self.config.context

    def points(self, name: str) -> list[list[float]]:
        """A curve so far: step, tokens, what was logged under this name."""
        logged = [(int(entry["step"]), entry[name]) for entry in self.state.log_history if name in entry]
        return [[step, self.tokens(step), round(value, 4)] for step, value in logged]


class Clock(TrainerCallback):
    """Counts the time of the run over all its parts; says when to measure, to save and to end; and tells."""

    def __init__(self, trainer: PretrainingTrainer, stop: Stop) -> None:
        self.trainer, self.stop, self.stopped = trainer, stop, False
        self._before, self._started, self._measured = 0.0, time.monotonic(), 0.0
        self._told = (0, 0.0)
        self._losses: list[float] = []

    @property
    def seconds(self) -> float:
        """Time of the run until now, what lies between its parts left out."""
        return self._before + time.monotonic() - self._started

    def share(self, step: int) -> float:
        """How much of the run is over, by tokens or by the clock, whichever is further."""
        config = self.trainer.config
        minutes = self.seconds / 60 / config.max_minutes if config.max_minutes else 0.0
        return max(step / config.steps, minutes)

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        told = [entry["seconds"] for entry in state.log_history]
        self._before, self._started = max(told, default=0.0), time.monotonic()
        self._measured = self.seconds
        self._told = (state.global_step, self.seconds)

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        over = self.share(state.global_step) >= 1
        if self.stop and not over:
            self.stopped = True
        ends = over or self.stopped
        if ends or self.seconds - self._measured >= 60 * self.trainer.config.every_minutes:
            control.should_log = control.should_evaluate = control.should_save = True
        elif self.seconds - self._told[1] >= 10:
            control.should_log = True
        control.should_training_stop = control.should_training_stop or ends

    def on_evaluate(self, *_: Any, **__: Any) -> None:
        self._measured = self.seconds

    def on_log(
        self, args: Any, state: TrainerState, control: TrainerControl, logs: Mapping[str, Any] | None = None, **_: Any
    ) -> None:
        if not logs or not ("loss" in logs or "eval_loss" in logs):
            return
        found = {key: logs[key] for key in ("loss", "eval_loss", "learning_rate", "grad_norm") if key in logs}
        if not math.isfinite(found.get("loss", 0.0)):
            raise InputError(f"the loss is {found['loss']} at step {state.global_step}; use a smaller learning_rate")
        step, seconds = state.global_step, self.seconds
        if "loss" in found:
            speed = self.trainer.tokens(step - self._told[0]) / max(1e-9, seconds - self._told[1])
            found["tokens_per_second"] = round(speed)
            self._told = (step, seconds)
        share = self.share(step)
        found |= {"step": step, "tokens": self.trainer.tokens(step), "seconds": round(seconds, 1)}
        report({**found, "share": round(share, 4)}, self.trainer.output)
        if "eval_loss" in found:
            say(f"step {step}: held-out perplexity {math.exp(found['eval_loss']):.1f}")
        else:
            say(
                f"step {step}, {found['tokens']:,} tokens, loss {found['loss']:.3f}, "
                f"{found['tokens_per_second']:,} tokens/s, {share:.0%} of the run"
            )


# ---------------------------------------------------------------------------------------------------------------- end


def finish(
    trainer: PretrainingTrainer, tokenizer: PreTrainedTokenizerFast, text: Mapping[str, Any], about: str
) -> dict[str, Any]:
    """Write the model in bfloat16, its tokenizer, its card and the record; what the run needed to go on is deleted."""
    config, output = trainer.config, trainer.output
    model = trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False)
    model = model.to(torch.bfloat16).eval()
    model.config._attn_implementation = "sdpa"
    found = measure(model, tokenizer, np.asarray(trainer.held_out), trainer.device)
    steps, seconds = trainer.state.global_step, trainer.clock.seconds
    record = {
        "config": config.portable().to_json(),
        "text": dict(text),
        "parameters": trainer.parameters,
        "steps": steps,
        "tokens": trainer.tokens(steps),
        "seconds": round(seconds, 1),
        "tokens_per_second": round(trainer.tokens(steps) / max(1e-9, seconds)),
        "precision": trainer.precision,
        "hardware": hardware(trainer.device),
        "versions": versions(),
        "held_out": found.to_json(),
        "curve": trainer.points("loss"),
        "held_out_curve": trainer.points("eval_loss"),
    }
    model.save_pretrained(output, max_shard_size=SHARD)
    tokenizer.save_pretrained(output)
    card = model_card(config, record, model, tokenizer, about)
    (output / "README.md").write_text(card, encoding="utf-8")
    with whole_file(output / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for left in checkpoints(output):
        shutil.rmtree(left)
    shutil.rmtree(output / WORK)
    return {"output": str(output), "stopped": False, **{k: v for k, v in record.items() if "curve" not in k}}
