"""Figures are made from results; what comes from outside is shown as text."""

from explorer.comparison import Comparison
from explorer.corpora import Corpus, Document
from explorer.figures.base import plain
from explorer.figures.compare import bump_chart
from explorer.figures.training import layer_drift, training_curves
from explorer.retrieval import Hit

CORPUS = Corpus("tiny", (Document("a", "x", title="<b>bold</b>"), Document("b", "y"), Document("c", "z")))


def test_text_is_text():
    assert plain("<b>&</b>") == "&lt;b&gt;&amp;&lt;/b&gt;"
    assert plain("x" * 99, 10) == "x" * 9 + "…"


def test_the_bump_chart_draws_ranks_and_gaps():
    view = Comparison(
        CORPUS, "<i>q</i>", 2, {"v": [Hit("a", 1, 0.9), Hit("b", 2, 0.8)], "bm25": [Hit("b", 1, 3.0), Hit("c", 2, 2.0)]}
    )
    figure = bump_chart(view)
    lines = {trace.name: list(trace.y) for trace in figure.data}
    assert lines == {"&lt;b&gt;bold&lt;/b&gt;": [1, None], "b": [2, 1], "c": [None, 2]}
    assert figure.layout.height == 420
    assert figure.layout.paper_bgcolor is None  # the template's: transparent
    assert figure.layout.template.layout.paper_bgcolor == "rgba(0,0,0,0)"
    settings = figure.layout.annotations[0].text
    assert "corpus tiny" in settings
    assert "&lt;i&gt;q&lt;/i&gt;" in settings


def test_blind_names_replace_the_real_ones():
    view = Comparison(CORPUS, "q", 1, {"v": [Hit("a", 1, 0.9)], "w": [Hit("a", 1, 0.9)]})
    figure = bump_chart(view, {"v": "B", "w": "A"})
    assert list(figure.layout.xaxis.ticktext) == ["B", "A"]
    assert list(figure.data[0].customdata) == ["B", "A"]
    assert "v" not in str(figure.layout.xaxis.ticktext) + figure.layout.annotations[0].text


def test_training_curves_draw_what_was_measured():
    records = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "dev": {"ndcg@10": 0.5}}, {"step": 3}]
    loss, score = training_curves({"<run>": records}).data
    assert (list(loss.x), list(loss.y)) == ([1, 2], [2.0, 1.0])
    assert (list(score.x), list(score.y)) == ([2], [0.5])
    assert loss.name == "&lt;run&gt;: loss"


def test_layer_drift_draws_a_line_a_layer_and_the_uniform_weight():
    figure = layer_drift([{"step": 0, "layer_weights": [0.5, 0.5]}, {"step": 9, "layer_weights": [0.2, 0.8]}], "run")
    assert [list(line.y) for line in figure.data] == [[0.5, 0.2], [0.5, 0.8]]
    assert figure.layout.shapes[0].y0 == 0.5
