"""How the page looks: one theme, one style sheet; no font or file is fetched from anywhere."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from ..study.report import CSS as REPORT_CSS

SHEETS = [Path(__file__).parent / f"{name}.css" for name in ("page", "map", "evaluate", "study", "learn")]
CSS = "".join([*(sheet.read_text(encoding="utf-8") for sheet in SHEETS), REPORT_CSS])
SYSTEM_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
MONO_FONTS = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


def theme() -> gr.themes.Base:
    """Calm, one accent, system fonts: no font is fetched from anywhere."""
    return gr.themes.Soft(
        primary_hue=gr.themes.Color(*ACCENT, name="accent"), neutral_hue="gray", font=SYSTEM_FONTS, font_mono=MONO_FONTS,
        radius_size="md", spacing_size="md",
    ).set(
        body_background_fill="white", block_border_width="1px", block_shadow="none", button_secondary_shadow="none",
        checkbox_label_background_fill="transparent", checkbox_label_background_fill_selected="transparent",
        checkbox_label_background_fill_selected_dark="transparent", checkbox_label_background_fill_dark="transparent",
        checkbox_label_text_color_selected="*body_text_color", checkbox_label_text_color_selected_dark="*body_text_color",
        checkbox_label_shadow="none", checkbox_label_border_width="0px", checkbox_label_padding="4px 8px",
        block_label_background_fill="transparent", block_label_background_fill_dark="transparent",
        block_title_background_fill="transparent", block_title_background_fill_dark="transparent",
        checkbox_border_color="#7d8592", checkbox_border_color_dark="#7d8592",
        body_text_color_subdued="#5a6270", body_text_color_subdued_dark="#a9b1bf",
        block_title_text_color="*body_text_color_subdued", block_title_text_color_dark="*body_text_color_subdued",
        input_placeholder_color="#6b7280", input_placeholder_color_dark="#b6bdc9",
        block_title_text_weight="600", block_title_padding="0",
        button_large_text_size="*text_md", button_large_padding="*spacing_lg calc(2 * *spacing_lg)",
    )  # fmt: skip


ACCENT = (
    "#eef6fb", "#d8eaf6", "#b4d7ee", "#7fbbe0", "#3f99ce", "#0072b2", "#00639b", "#005382", "#00446a", "#003555", "#002a44",
)  # fmt: skip
