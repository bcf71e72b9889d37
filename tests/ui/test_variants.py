"""The Variants tab without a browser: two variants field by field."""

from __future__ import annotations

from explorer.ui.services import Services
from explorer.ui.variants import side_by_side
from explorer.variants import Shelf


def test_fields_stand_side_by_side_and_differences_are_bold(home):
    services = Services(Shelf())
    table = side_by_side(services, ["minilm/multi-layer-causal", "minilm/multi-layer-bidirectional"])
    rows = {row.split("</th>")[0].split(">")[-1]: row for row in table.split("<tr>")}
    assert rows["attention"].count('class="clear"') == 2
    assert ">causal<" in rows["attention"]
    assert ">bidirectional<" in rows["attention"]
    assert "clear" not in rows["backbone"]
    assert side_by_side(services, ["minilm/eos-causal"]) == ""
