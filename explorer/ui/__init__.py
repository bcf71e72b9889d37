"""The page. `build_app(services)` draws it; one file a tab; texts, style sheet and scripts apart."""

from __future__ import annotations

import gradio as gr

from . import texts, texts_evaluate
from .api import build_api
from .closed import closed_note
from .compare import build_compare
from .doors import open_compare_from_worst, open_layers_from_hits, open_tabs_from_lesson
from .evaluate import build_evaluate
from .finetune import build_finetune
from .layers import build_layers
from .learn import build_learn
from .map import build_map
from .map_doors import open_doors
from .parts import HIDDEN, switch
from .services import Services
from .sidebar import build_sidebar
from .starting import begin
from .study import build_study
from .variants import build_variants, cards


def build_app(services: Services) -> gr.Blocks:
    """The whole page."""
    with gr.Blocks(
        title=texts.TITLE, analytics_enabled=False, fill_width=True, delete_cache=services.policy.files_kept
    ) as app:
        build_api(services)  # first: gradio gives a name that is taken a number
        sidebar = build_sidebar(services)
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:
            with gr.Tab("Compare", id="compare") as compare_tab:
                compare = build_compare(services, sidebar)
            with gr.Tab("Layers", id="layers") as layers_tab:
                layers = build_layers(services, sidebar, compare.query, layers_tab.select)
            with gr.Tab("Map", id="map") as map_tab:
                maps = build_map(services, sidebar, compare.query, compare.k, map_tab.select)
            with gr.Tab("Fine-tune", id="finetune") as finetune_tab:
                following = None
                if services.policy.allows("train"):
                    following = build_finetune(services, sidebar, compare.query, finetune_tab.select)
                else:
                    closed_note(services.policy, "train", texts.FINETUNE)
            with gr.Tab("Evaluate", id="evaluate") as evaluate_tab:
                evaluate = None
                if services.policy.allows("evaluate"):
                    evaluate = build_evaluate(services, sidebar, evaluate_tab.select)
                else:
                    closed_note(services.policy, "evaluate", texts_evaluate.EVALUATE)
            with gr.Tab("Study", id="study") as study_tab:
                studying = build_study(services, sidebar, study_tab.select)
            with gr.Tab("Variants", id="variants") as variants_tab:
                shelf = build_variants(services, sidebar)
            with gr.Tab("Learn", id="learn") as learn_tab:
                learn = build_learn(services)
        variants_tab.select(lambda: cards(services), None, shelf, **HIDDEN)
        ticking = evaluate.timer if evaluate is not None else None
        timers = {finetune_tab: following, evaluate_tab: ticking, study_tab: studying}
        for tab in (compare_tab, layers_tab, map_tab, finetune_tab, evaluate_tab, study_tab, variants_tab, learn_tab):
            hidden = [timer for of, timer in timers.items() if of is not tab and timer is not None]
            if hidden:
                switch(tab.select, hidden, active=False)
        open_layers_from_hits(services, sidebar, compare, layers, tabs)
        if evaluate is not None:
            open_compare_from_worst(services, sidebar, compare, evaluate, tabs)
        open_tabs_from_lesson(services, sidebar, compare, layers, learn, tabs)
        open_doors(services, sidebar, compare, layers, tabs, maps.tables)
        begin(app, services, sidebar, compare, learn, tabs, maps.redraw)

        def left(request: gr.Request) -> None:
            services.left(str(request.session_hash))

        app.unload(left)
    return app.queue(max_size=services.policy.waiting, default_concurrency_limit=8)
