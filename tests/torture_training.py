"""Kill -9 at random moments: afterwards every folder resumes or loads, and ends as if nothing had happened.

    python tests/torture_training.py [--kills 50] [--seed 0]

Not part of the tests: it takes about ten seconds a kill. A run is started with --resume, killed at a random moment
after its first step (or, one time in five, while it starts), inspected, started again, until it ends; then a new one
begins.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
warnings.filterwarnings("ignore")
os.environ["OMP_NUM_THREADS"] = "1"  # sums in the same order everywhere

import tiny  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from explorer.backbone import Backbone  # noqa: E402
from explorer.encoder import PooledEncoder  # noqa: E402
from explorer.training import checkpoints  # noqa: E402
from explorer.training_config import TrainingConfig  # noqa: E402

STEPS = 60


def configured(folder: Path) -> TrainingConfig:
    """A run of some seconds that saves at every second step."""
    backbone = tiny.save_backbone(folder / "bert", "bert")
    rows = [{"query": f"query {i} {i * 7 % 13}", "positive": f"the answer {i} of {i * 5 % 11}"} for i in range(60)]
    data = folder / "pairs.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return TrainingConfig(
        "multi-layer-bidirectional",
        (str(data),),
        str(backbone),
        **{"max_steps": STEPS, "batch_size": 8, "max_length": 24, "device": "cpu", "dtype": "float32"},
        **{"latents": 4, "heads": 2, "head_dim": 16, "eval_every": 10, "save_every": 2, "estimate_steps": 0},
        dev_share=0.2,
    )


def start(config: TrainingConfig, output: Path) -> subprocess.Popen:
    command = config.command(str(output)).split(" ")[1:]
    return subprocess.Popen([sys.executable, *command, "--resume"], cwd=ROOT, stdout=-3, stderr=-3)


def last_step(output: Path) -> int:
    """The step that the progress file has reached."""
    try:
        lines = (output / "progress.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return -1
    steps = [json.loads(line).get("step", -1) for line in lines if line.endswith("}")]
    return steps[-1] if steps else -1


def inspect(config: TrainingConfig, output: Path) -> str:
    """What a killed run left; fails if anything of it is half-written."""
    for folder in checkpoints(output):
        load_file(folder / "trained.safetensors")
        state = json.loads((folder / "trainer_state.json").read_text())
        assert folder.name == f"checkpoint-{state['global_step']}", folder
        assert (folder / "optimizer.pt").stat().st_size > 0
        assert (folder / "rng_state.pth").stat().st_size > 0
    if (output / "variant.json").exists():
        encoder = PooledEncoder.load(output, Backbone.load(config.backbone, "cpu", "float32"), "x")
        assert encoder.encode(["a"]).shape == (1, tiny.WIDTH)
        return "loads" if is_finished(output) else "loads and resumes"
    return f"resumes from step {checkpoints(output)[-1].name[11:] if checkpoints(output) else 0}"


def is_finished(output: Path) -> bool:
    return (output / "variant.json").exists() and not (output / "training.json").exists()


def result(output: Path) -> tuple[list, bytes]:
    """What a finished run must have alike: the curve and the weights."""
    curve = json.loads((output / "variant.json").read_text())["training"]["curve"]
    return curve, (output / "pooler.safetensors").read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = configured(folder)
        assert start(config, folder / "whole").wait() == 0
        wanted = result(folder / "whole")
        output, number, kills = folder / "run0", 0, 0
        while kills < options.kills:
            process, before = start(config, output), last_step(output)
            starting = dice.random() < 0.2
            while not starting and process.poll() is None and last_step(output) <= before:
                time.sleep(0.001)
            time.sleep(dice.random() * (6 if starting else 1.5))
            process.kill()
            if process.wait() != 0:
                kills += 1
                print(f"kill {kills}: {output.name} at step {last_step(output)}, {inspect(config, output)}", flush=True)
            if is_finished(output):
                assert result(output) == wanted, output
                print(f"{output.name} ended like the run that nobody killed", flush=True)
                number += 1
                output = folder / f"run{number}"
        assert start(config, output).wait() == 0
        assert result(output) == wanted
    print(f"{kills} kills, {number + 1} runs, nothing half-written")


if __name__ == "__main__":
    main()
