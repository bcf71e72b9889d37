"""A study in which every text tries to be markup."""

from __future__ import annotations

from explorer.significance import Test
from explorer.study.results import (
    ClaimCard,
    Entry,
    Estimate,
    LayerPicture,
    Pair,
    Part,
    RunInfo,
    SeedGap,
    Study,
    TaskInfo,
)

EVIL = '<img src=x onerror="alert(1)">|`*'


def evil_study() -> Study:
    cells = {EVIL: Estimate(0.5, (0.4, 0.6), 0.1, 0.2, 0.8, 0.4, 0.6, best=True)}
    entries = tuple(Entry(f"{EVIL}{i}", i == 2, (0, 1), cells, {EVIL: cells[EVIL]}) for i in range(3))
    names = [entry.name for entry in entries]
    test = Test(names[0], names[1], EVIL, EVIL, 9, 0.5, 0.4, 0.1, 0.05, 0.2, 0.01, 0.01)
    setup = {
        **{key: [EVIL] for key in ("designs", "dtypes", "seeds", "baselines")},
        "backbone": EVIL, "versions": [{EVIL: EVIL}], "hardware": [{EVIL: EVIL}], "pairs": 9, "held_out": 1, "steps": 3,
        "data": [{"name": EVIL, "pairs": 9, "weight": 1.0, "sha256": EVIL}], "sample": 10, "decoder": None,
        "training": {
            "batch_size": 2, "max_steps": 3, "learning_rate": 0.1, "pooler_learning_rate": 0.1, "schedule": EVIL,
            "scale": 20.0, "lora_rank": 1, "lora_alpha": 1, "lora_dropout": 0.0, "pooler_init": EVIL, "max_length": 9,
            "guide": EVIL, "guide_weight": 1.0,
        },
    }  # fmt: skip
    return Study(
        EVIL,
        setup,
        {EVIL: TaskInfo(EVIL, EVIL, EVIL, EVIL, EVIL, EVIL, False, 9)},
        tuple(RunInfo(name, 0, "waiting", seconds=1.0, hardware=EVIL) for name in names),
        entries,
        (Pair(f"type:{EVIL}", test, SeedGap(0.01, 0.2, 0.01, 2, 2)),),
        (ClaimCard(EVIL, EVIL, EVIL, EVIL, EVIL, "supported", EVIL, (Part(EVIL, EVIL, EVIL, "supported", EVIL),)),),
        (LayerPicture(EVIL, (0, 1), ((0.5, 0.5), (0.4, 0.6))),),
        (EVIL,),
        (EVIL,),
    )
