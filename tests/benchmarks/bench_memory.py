"""What do seven variants of one backbone cost in memory? One backbone, and their own adapters and poolers.

    python tests/benchmarks/bench_memory.py [--variants 7]

Saves that many variants of MiniLM with random LoRA adapters (rank 16) and random poolers, loads them in a fresh process
and prints what the shelf says (`Backbone.memory`, `own_bytes`) and by how much the resident memory of the process grew.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

MB = 1e6


def make(folder: Path, count: int) -> None:
    """Variants with random adapters and poolers, as many as asked for, in `folder`."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    from explorer.backbone import Backbone
    from explorer.designs import DESIGNS, MINILM
    from explorer.encoder import PooledEncoder, TextSettings
    from explorer.hub import resolve
    from explorer.pooling import build_pooler

    backbone = Backbone.load(device="cpu", dtype="float32")
    targets = r".*encoder.*\.(query|key|value|dense)"
    adapted = get_peft_model(AutoModel.from_pretrained(resolve(MINILM)), LoraConfig(r=16, target_modules=targets))
    adapted.save_pretrained(folder / "adapter")
    for i in range(count):
        design = list(DESIGNS.values())[i % len(DESIGNS)]
        backbone.add_adapter(str(i), folder / "adapter")
        pooler = build_pooler(design, backbone.width, backbone.layers)
        PooledEncoder(str(i), backbone, design, pooler, TextSettings(), str(i)).save(folder / "shelf" / f"v{i}")


def measure(folder: Path) -> None:
    """Load one by one, in a process that has loaded nothing else."""
    import psutil

    from explorer.backbone import Backbone
    from explorer.designs import design
    from explorer.encoder import PooledEncoder

    process = psutil.Process()

    def resident() -> int:
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed is not held
        return process.memory_info().rss

    warm = Backbone.load(device="cpu", dtype="float32")  # libraries, allocator and tokenizer code are in memory now
    warm_variant = PooledEncoder.load(folder / "v0", warm, "warm")
    warm_variant.encode(["a text to warm up"] * 4)
    before = resident()
    backbone = Backbone.load(device="cpu", dtype="float32")
    PooledEncoder.untrained(backbone, design("mean-bidirectional")).encode(["a text"] * 4)
    after_backbone = resident()
    encoders = [PooledEncoder.load(f, backbone, f.name) for f in sorted(folder.iterdir())]
    for encoder in encoders:
        encoder.encode(["a text"] * 4)
    after = resident()

    weights, own = backbone.memory().weights, [e.own_bytes for e in encoders]
    adapters = sum(backbone.memory().adapters.values())
    print(f"backbone      {weights / MB:8.1f} MB of weights, resident {(after_backbone - before) / MB:8.1f} MB")
    for encoder, size in zip(encoders, own, strict=True):
        print(f"  {encoder.design.name:26} {size / MB:6.1f} MB")
    files = sum(f.stat().st_size for f in folder.rglob("*.safetensors"))
    print(
        f"their own     {sum(own) / MB:8.1f} MB, of it adapters {adapters / MB:.1f} MB; their files {files / MB:.1f} MB"
    )
    shelf = weights + sum(own)
    print(f"counted       {shelf / MB:8.1f} MB = {shelf / (weights + files):.3f} x (one backbone + their files)")
    one = after_backbone - before
    print(
        f"resident      {(after - before) / MB:8.1f} MB = {(after - before) / (one + sum(own)):.3f} x (one + their own)"
    )
    print(f"apart, each with a backbone of its own: {(weights * len(encoders) + sum(own)) / MB:8.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variants", type=int, default=7)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure)
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), options.variants)
        subprocess.run([sys.executable, __file__, "--measure", str(Path(folder) / "shelf")], check=True)


if __name__ == "__main__":
    main()
