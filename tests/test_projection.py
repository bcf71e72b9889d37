"""Maps of spaces: arithmetic against scikit-learn, umap-learn and FAISS, then repeatability, then odd corpora."""

from __future__ import annotations

import json
import threading
import warnings

import faiss
import numpy as np
import pytest
import spaces
from scipy.spatial.transform import Rotation
from sklearn import manifold, metrics
from sklearn.decomposition import PCA

from explorer.comparison import Comparer
from explorer.corpora import Corpus, Document
from explorer.errors import Cancelled, InputError
from explorer.figures.space import bounds, colours, space_figure, symbols
from explorer.projection import command, layout, neighbours, quality, shading
from explorer.projection.lab import MapLab, MapSettings
from explorer.retrieval import DenseIndex

N, K = 120, 8


def lab_of(**given: np.ndarray) -> MapLab:
    return MapLab(Comparer(spaces.Shelf(given)))  # type: ignore[arg-type]


@pytest.fixture
def lab(home) -> MapLab:
    """Three variants: b has other vectors, twin those of a."""
    first = spaces.vectors(N)
    return lab_of(a=first, b=spaces.vectors(N, seed=1), twin=first.copy())


CORPUS = spaces.corpus(N)
PCA_ONLY, UMAP = MapSettings("pca", K), MapSettings("umap", K)

# ---------------------------------------------------------------------------------------------------------- neighbours


def test_neighbours_are_those_of_faiss_without_the_document_itself():
    points = spaces.vectors(N)
    flat = faiss.IndexFlatIP(points.shape[1])
    flat.add(points)
    scores, rows = neighbours.neighbours(DenseIndex(points), points, K)
    expected_scores, expected = flat.search(points, K + 1)
    assert (expected[:, 0] == np.arange(N)).all()
    assert (rows == expected[:, 1:]).all()
    np.testing.assert_allclose(scores, expected_scores[:, 1:], atol=1e-6)


def test_more_neighbours_than_documents_are_all_the_others():
    points = spaces.vectors(5)
    _, rows = neighbours.neighbours(DenseIndex(points), points, 50)
    assert [sorted(row) for row in rows.tolist()] == [[j for j in range(5) if j != i] for i in range(5)]
    alone = spaces.vectors(1)
    assert neighbours.neighbours(DenseIndex(alone), alone, 3)[1].shape == (1, 0)


def test_a_document_among_identical_ones_is_not_its_own_neighbour():
    points = np.repeat(spaces.vectors(2), [20, 10], axis=0)
    _, rows = neighbours.neighbours(DenseIndex(points), points, 4)
    assert not (rows == np.arange(30)[:, None]).any()
    assert all(set(row) <= set(range(20)) for row in rows[:20].tolist())


def test_change_is_one_minus_jaccard():
    a = np.array([[1, 2, 3], [0, 2, 3], [4, 5, 6], [-1, -1, -1]])
    b = np.array([[3, 2, 1], [0, 7, 8], [1, 2, 3], [-1, -1, -1]])
    assert neighbours.change(a, b).tolist() == [0, pytest.approx(1 - 1 / 5), 1, 0]
    assert neighbours.most_changed(neighbours.change(a, b), 2).tolist() == [2, 1]


def test_finding_neighbours_can_be_stopped():
    points, stopped = spaces.vectors(N), threading.Event()
    stopped.set()
    with pytest.raises(Cancelled):
        neighbours.neighbours(DenseIndex(points), points, K, cancel=stopped)


# -------------------------------------------------------------------------------------------------------------- layout


def test_pca_is_scikit_learns():
    points = spaces.vectors(N)
    plane, theirs = layout.pca(points), PCA(2, svd_solver="full").fit(points)
    np.testing.assert_allclose(plane.xy, theirs.transform(points), atol=1e-5)
    np.testing.assert_allclose(plane.place(points[:3]), plane.xy[:3], atol=1e-6)
    assert plane.explained == pytest.approx(theirs.explained_variance_ratio_.sum(), abs=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_pca_of_few_documents_is_finite(n):
    assert layout.pca(spaces.vectors(n)).xy.shape == (n, 2)
    assert np.isfinite(layout.pca(spaces.vectors(n)).xy).all()


def test_umap_is_umap_learns():
    from umap import UMAP as Theirs

    points = spaces.vectors(N)
    scores, rows = neighbours.neighbours(DenseIndex(points), points, K)
    start = layout.pca(points).xy
    own = np.arange(N)[:, None]
    near = np.hstack([own, rows]), np.hstack([np.zeros((N, 1), np.float32), 1 - scores])
    theirs = Theirs(
        n_neighbors=K + 1, n_epochs=500, metric="cosine", random_state=3, n_jobs=1, init=layout.spread(start, 3),
        precomputed_knn=near, force_approximation_algorithm=True,
    )  # fmt: skip
    with warnings.catch_warnings(action="ignore"):
        expected = theirs.fit_transform(start)
    assert np.array_equal(layout.umap(scores, rows, start, 3), expected)


def test_umap_repeats_and_tells_its_progress():
    points = spaces.vectors(N)
    found = neighbours.neighbours(DenseIndex(points), points, K)
    start, told = layout.pca(points).xy, []
    first = layout.umap(*found, start, 3, lambda done, total: told.append((done, total)))
    assert np.isfinite(first).all()
    assert np.array_equal(first, layout.umap(*found, start, 3))
    assert not np.array_equal(first, layout.umap(*found, start, 4))
    assert told
    assert told[-1] == (500, 500)
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(Cancelled):
        layout.umap(*found, start, 3, cancel=stopped)
    # Stopping has left nothing locked: another thread's UMAP goes on.
    other = threading.Thread(target=layout.umap, args=(*found, start, 3), daemon=True)
    other.start()
    other.join(60)
    assert not other.is_alive()


def test_a_turned_map_is_laid_back_exactly():
    xy = spaces.vectors(N, 2)
    spun = Rotation.from_euler("z", 40, degrees=True).as_matrix()[:2, :2]
    turned = (3 * xy @ spun * [1, -1] + [5, -2]).astype(np.float32)
    np.testing.assert_allclose(layout.turn_onto(turned, xy)(turned), xy, atol=1e-5)
    assert np.array_equal(layout.turn_onto(xy, xy)(xy), xy)


# ------------------------------------------------------------------------------------------------------------- quality


def test_trustworthiness_is_that_of_scikit_learn_and_umap_learn():
    from umap.distances import named_distances
    from umap.validation import make_trustworthiness_calculator

    points = spaces.vectors(N)
    xy = layout.pca(points).xy
    found = quality.trustworthiness(points, xy, K)
    assert found.mean() == pytest.approx(manifold.trustworthiness(points, xy, n_neighbors=K, metric="cosine"), abs=1e-9)
    # Its calculator is called with lists of our making: its own are one too short, and it reads past their end.
    calculate = make_trustworthiness_calculator(named_distances["cosine"])
    theirs = calculate(points.astype(np.float64), quality.map_neighbours(xy, K), K)
    assert found.mean() == pytest.approx(theirs[K], abs=1e-9)
    some = np.array([3, 50, 99])
    np.testing.assert_allclose(quality.trustworthiness(points, xy, K, some), found[some])


def test_neighbours_kept_counts_what_both_lists_hold():
    xy = np.array([[0, 0], [1, 0], [3, 0], [6, 0]], np.float32)
    # on the map: 1; 0; 1; 2
    assert quality.preservation(np.array([[1], [2], [1], [0]]), xy).tolist() == [1, 0, 1, 0]


def test_silhouettes_are_scikit_learns_over_the_labelled_documents():
    points = spaces.vectors(N)
    labels = ["" if i % 10 == 0 else f"group {i % 4}" for i in range(N)]
    given = [i for i in range(N) if labels[i]]
    expected = metrics.silhouette_score(points[given], [labels[i] for i in given], metric="cosine")
    assert quality.silhouette(points, labels, "cosine") == (pytest.approx(expected), "")
    assert quality.silhouette(points, [""] * N, "cosine") == (None, "the documents have no labels")
    assert quality.silhouette(points, ["one"] * N, "cosine") == (None, "there is only one label")
    assert quality.silhouette(points, [str(i) for i in range(N)], "cosine")[0] is None


def test_isotropy_against_sums_over_all_pairs():
    points = spaces.vectors(N)
    cosines = points.astype(float) @ points.T.astype(float)
    assert quality.mean_cosine(points) == pytest.approx(cosines[~np.eye(N, dtype=bool)].mean(), abs=1e-7)
    shares = np.linalg.eigvalsh(np.cov(points.T))
    shares = shares[shares > 0] / shares.sum()
    assert quality.effective_rank(points) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-5)
    both_ways = np.vstack([np.eye(4), -np.eye(4)]).astype(np.float32)  # even in four directions
    assert quality.effective_rank(both_ways) == pytest.approx(4)
    assert quality.mean_cosine(both_ways) == pytest.approx(-1 / 7)
    assert quality.effective_rank(np.ones((5, 3), np.float32)) is None
    assert quality.mean_cosine(points[:1]) is None


def test_a_sample_of_many_documents_comes_near_the_whole(monkeypatch):
    points = spaces.vectors(N)
    rows = neighbours.neighbours(DenseIndex(points), points, K)[1]
    xy = layout.pca(points).xy
    whole = quality.measure(points, rows, xy, [""] * N)
    monkeypatch.setattr(quality, "sample_size", lambda n: 80)
    part = quality.measure(points, rows, xy, [""] * N)
    assert (whole.measured, part.measured, int(np.isnan(part.point_trust).sum())) == (N, 80, N - 80)
    assert part.trustworthiness == pytest.approx(whole.trustworthiness, abs=0.03)


# ----------------------------------------------------------------------------------------------------------------- lab


def test_the_same_settings_give_the_same_maps_and_equal_vectors_equal_ones(lab, monkeypatch):
    first = lab.draw(CORPUS, ["a", "b", "twin"], UMAP)
    assert first.drawn == "umap"
    assert np.array_equal(first.positions["a"], first.positions["twin"])
    assert not np.array_equal(first.positions["a"], first.positions["b"])
    assert lab.is_ready(CORPUS, ["a", "b"], UMAP)
    assert not lab.is_ready(CORPUS, ["a", "b"], MapSettings("umap", K, 1))

    monkeypatch.setattr(layout, "umap", None)  # from disk now
    again = MapLab(lab.comparer).draw(CORPUS, ["a", "b", "twin"], UMAP)
    assert again.key == first.key
    assert all(np.array_equal(again.positions[name], xy) for name, xy in first.positions.items())


def test_maps_are_laid_over_the_first_one(lab):
    space = lab.draw(CORPUS, ["a", "b"], PCA_ONLY)
    own = layout.pca(spaces.vectors(N, seed=1)).xy
    target = space.positions["a"]

    def apart(xy: np.ndarray) -> float:
        return float(((xy - target) ** 2).sum())

    assert apart(space.positions["b"]) <= apart(own) + 1e-6
    np.testing.assert_allclose(space.positions["b"].mean(0), target.mean(0), atol=1e-5)


def test_nearest_neighbours_and_the_star_are_of_the_original_space(lab):
    points = spaces.vectors(N)
    order = np.argsort(-(points @ points[7]), kind="stable")
    assert [id for id, _ in lab.nearest("a", CORPUS, "d7", 5)] == [f"d{r}" for r in order if r != 7][:5]
    space = lab.draw(CORPUS, ["a", "b"], PCA_ONLY)
    star = lab.stars(space, "anything", 4)["a"]  # the query has the vector of the first document
    assert star.rows[0] == 0
    np.testing.assert_allclose(star.xy, space.positions["a"][0], atol=1e-5)
    with pytest.raises(InputError, match="makes no vectors"):
        lab.nearest("bm25", CORPUS, "d7")


def test_variants_that_cannot_be_drawn_are_named(lab):
    many = lab_of(**{name: spaces.vectors(N, seed=i) for i, name in enumerate("abcdef")})
    assert many.names([*"abcdef", "bm25"]) == (
        list("abcd"),
        (
            "BM25 matches words and has no vectors, so it has no map.",
            "At most 4 maps stand side by side; left out: e, f.",
        ),
    )
    for wanted in (["bm25"], []):
        with pytest.raises(InputError, match="makes vectors"):
            lab.names(wanted)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "tsne"}, "unknown method 'tsne'; known: umap, pca"),
        ({"neighbours": 1}, "between 2 and 100"),
        ({"neighbours": 101}, "between 2 and 100"),
        ({"seed": -1}, "the seed"),
    ],
)
def test_bad_settings_are_one_sentence(settings, message):
    with pytest.raises(InputError, match=message):
        MapSettings(**settings)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9])
def test_few_documents_give_a_picture_and_a_sentence(home, n):
    lab, corpus = lab_of(a=spaces.vectors(n), b=spaces.vectors(n, seed=1)), spaces.corpus(n)
    space = lab.draw(corpus, ["a", "b"], MapSettings())
    assert all(np.isfinite(xy).all() and xy.shape == (n, 2) for xy in space.positions.values())
    assert len(space.notes) == 1
    assert space.drawn == ("umap" if n >= layout.FEWEST else "pca")
    found = lab.measure(space)["a"]
    json.dumps(found.to_json(), allow_nan=False)
    assert found.trustworthiness is None or n > 2
    assert lab.change(corpus, "a", "b", 15).shape == (n,)
    assert len(lab.stars(space, "x")["a"].rows) == min(n, 10)
    assert len(lab.clusters("a", corpus)) == n
    space_figure(space, shading.by_trust({k: q.point_trust for k, q in lab.measure(space).items()}))


def test_identical_documents_lie_on_one_spot_and_a_sentence_says_so(home):
    same = np.repeat(spaces.vectors(1), 40, axis=0)
    lab, corpus = lab_of(same=same, a=spaces.vectors(40)), spaces.corpus(40)
    space = lab.draw(corpus, ["same"], MapSettings())
    assert not np.ptp(space.positions["same"], axis=0).any()
    assert "All documents have the same vector with same" in space.notes[0]
    found = lab.measure(space)["same"]
    assert (found.trustworthiness, found.effective_rank) == (None, None)
    assert found.mean_cosine == pytest.approx(1)
    both = lab.draw(corpus, ["same", "a"], MapSettings())
    assert np.isfinite(both.positions["a"]).all()
    assert np.ptp(both.positions["a"], axis=0).all()


def test_many_copies_among_others_still_make_a_map(home):
    points = np.vstack([np.repeat(spaces.vectors(1), 30, axis=0), spaces.vectors(30, seed=2)])
    space = lab_of(a=points).draw(spaces.corpus(60), ["a"], MapSettings(neighbours=5))
    assert np.isfinite(space.positions["a"]).all()


# ------------------------------------------------------------------------------------------------------------- shading


def test_labels_have_a_colour_each_and_thousands_are_grouped():
    found = shading.by_label(CORPUS)
    assert found.names == ("group 0", "group 1", "group 2", "group 3")
    many = shading.by_label(spaces.corpus(5000, [f"label {i}" for i in range(5000)]))
    assert len(many.names) == 21
    assert many.names[-1] == "other (4,980 labels)"
    assert np.bincount(many.of("any")).tolist() == [1] * 20 + [4980]
    assert len(colours(many)) == len(symbols(many)) == 21
    some = shading.by_label(spaces.corpus(3, ["x", "", "x"]))
    assert (some.names, some.of("a").tolist()) == (("x", "no label"), [0, 1, 0])
    none = shading.by_label(spaces.corpus(3, [""] * 3))
    assert none.names == ("no label",)
    assert "no labels" in none.note


def test_numbers_are_read_from_fields_in_steps():
    fields = shading.numeric_fields(CORPUS)
    assert list(fields) == [shading.LENGTH, "year"]
    found = shading.by_number("year", fields["year"])
    assert len(found.names) == 10
    assert np.bincount(found.of("a")).tolist() == [12] * 10
    odd = Corpus("odd", tuple(Document(f"{i}", "x", fields={"f": v}) for i, v in enumerate(["1", "2.5", "", "nan"])))
    assert "f" not in shading.numeric_fields(odd)  # a third of the values are no numbers
    codes = shading.by_number("f", np.array([1, 2, np.nan]))
    assert codes.names[-1] == "no value"
    assert codes.of("a")[2] == len(codes.names) - 1
    with pytest.raises(InputError, match="no numeric field 'colour'; there are: length of the text, year"):
        shading.check_field("colour", fields)


def test_change_and_trust_are_on_fixed_steps():
    found = shading.by_change(np.array([0, 0.05, 0.1, 0.99, 1]), "a", "b", 5)
    assert found.of("a").tolist() == [0, 0, 1, 9, 9]
    trust = shading.by_trust({"a": np.array([0.5, 1, np.nan]), "b": np.array([1, 1, np.nan])})
    assert trust.of("a").tolist() == [0, 9, 10]
    assert trust.names[10] == "not measured"
    assert trust.rest == 1


# -------------------------------------------------------------------------------------------------- figure and command


def test_a_figure_has_all_maps_on_one_scale_and_its_settings(lab):
    space = lab.draw(CORPUS, ["a", "b"], PCA_ONLY)
    figure = space_figure(space, shading.by_label(CORPUS), lab.measure(space), lab.stars(space, "<b>q</b>"), "<b>q</b>")
    x, y = bounds(space.positions)
    assert x[1] - x[0] == pytest.approx(y[1] - y[0])
    assert list(figure.layout.xaxis.range) == list(figure.layout.xaxis2.range) == x
    drawn = [t for t in figure.data if t.mode == "markers" and t.name != "query"]
    assert sum(len(t.x) for t in drawn) == 2 * N
    texts = " ".join(a.text for a in figure.layout.annotations)
    assert "PCA, each map laid over that of a" in " ".join(texts.replace("<br>", " ").split())
    assert "trustworthiness" in texts
    assert "<b>q</b>" not in figure.to_json()


class Options:
    """What argparse would give."""

    def __init__(self, **changed) -> None:
        self.corpus, self.variants, self.method, self.neighbours, self.seed = "points", ["a", "b"], "pca", K, 0
        self.query, self.colour, self.output = None, "label", None
        self.__dict__.update(changed)


@pytest.fixture
def run(home, monkeypatch):
    """`map` over the three variants and the corpus of the tests."""
    import explorer.corpora.library as library

    first = spaces.vectors(N)
    shelf = spaces.Shelf({"a": first, "b": spaces.vectors(N, seed=1)})
    monkeypatch.setattr(library, "open_anything", lambda name: CORPUS)
    return lambda **changed: command.run(Options(**changed), shelf)  # type: ignore[arg-type]


def test_the_command_gives_numbers_change_and_files(run, tmp_path, capsys):
    found = run(query="anything", output=str(tmp_path / "map.json"))
    json.dumps(found, allow_nan=False)
    assert list(found["variants"]) == ["a", "b"]
    assert 0 < found["variants"]["a"]["trustworthiness"] <= 1
    assert found["change"][0]["most"][0]["change"] >= found["change"][0]["mean"]
    assert found["query"]["variants"]["a"]["nearest"][0]["id"] == "d0"
    written = json.loads((tmp_path / "map.json").read_text())
    assert len(written["positions"]["a"]["x"]) == len(written["positions"]["ids"]) == N
    command.show(found)
    assert "trustworthiness" in capsys.readouterr().out

    run(output=str(tmp_path / "map.csv"))
    lines = (tmp_path / "map.csv").read_text().splitlines()
    assert len(lines) == N + 1
    assert lines[0] == "corpus,method,neighbours,seed,id,title,label,x a,y a,x b,y b"
    run(output=str(tmp_path / "map.html"), colour="change")
    page = (tmp_path / "map.html").read_text()
    assert "neighbourhood change" in page
    assert "src=" not in page.rpartition("</script>")[0].rpartition("<script")[2].partition(">")[0]
    assert "cdn.plot.ly/plotly" not in page


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"neighbours": 0}, "between 2 and 100"),
        ({"output": "map.png"}, "must end in .json, .csv, .html"),
        ({"variants": ["bm25"]}, "has no map"),
        ({"variants": ["nothing"]}, "no variant 'nothing'"),
        ({"colour": "mood", "output": "x.html"}, "no numeric field 'mood'"),
        ({"output": "file/map.csv"}, "cannot write"),
    ],
)
def test_bad_input_of_the_command_is_one_sentence(run, changed, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=message):
        run(**changed)
