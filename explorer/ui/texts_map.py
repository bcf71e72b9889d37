"""Words of the Map tab."""

MAP = "How does the space look?"
MAP_HELP = (
    "Every point is a document; what a variant finds alike lies together. A flat picture of many dimensions always bends "
    "something: the numbers below say how much. Neighbours in the tables are those of the original space, never of the "
    "picture."
)
METHOD_INFO = "PCA comes at once; UMAP keeps neighbours together and follows"
COLOUR_INFO = "what points are coloured by"
PAIR_INFO = "for “neighbourhood change” and “what moved most”"
NEIGHBOURS_INFO = "what UMAP keeps together, and what change and quality are measured with"
SEED_INFO = "the same seed gives the same picture"
CLUSTERS_INFO = "k-means on the vectors of variant A"
SEARCH = "find documents by their words"

NUMBERS = "How far can the maps be believed?"
MEASURES = (
    (
        "trustworthiness",
        "Trustworthiness",
        "Are neighbours on the map neighbours in the space? 1: all are; about 0.5: as good as random.",
    ),
    (
        "preservation",
        "Neighbours kept",
        "The share of each document’s nearest neighbours in the space that are also nearest on the map.",
    ),
    (
        "silhouette_space",
        "Silhouette by label, space",
        "Do labels form groups? 1: tight and far apart; 0: they touch; below 0: documents lie nearer to another label.",
    ),
    (
        "silhouette_map",
        "Silhouette by label, map",
        "The same on the picture. Where it differs much, the picture misleads.",
    ),
    (
        "mean_cosine",
        "Mean cosine",
        "Of two documents picked at random. 0: directions are used evenly; near 1: all vectors lie in a narrow cone.",
    ),
    (
        "effective_rank",
        "Effective rank",
        "In how many directions the vectors really differ (exp of the entropy of the covariance’s eigenvalues).",
    ),
)
"""(field of `Quality`, name, what it says)."""

NOT_MEASURED = "The numbers of these maps were not measured; press Draw."

SELECTION = "Selected documents"
SELECTION_HELP = (
    "Click a point, draw a lasso, or search by words: the same documents light up in every map and stand here. Choose one "
    "to see its nearest neighbours by each variant."
)
NO_SELECTION = "Nothing is selected yet. Click a point, use the lasso, or search for a word above the maps."
MOVED = "What moved most"
MOVED_HELP = (
    "Documents whose nearest neighbours changed most from variant A to variant B: 0 means the same neighbours, 1 means "
    "none in common. Choose one to see it on the maps."
)
ONE_VARIANT = "Choose a second variant in the sidebar to see what moves between two of them."
STAR = "The star is Compare’s query, with lines to its best documents in the original space."
STAR_UMAP = "UMAP places documents only: the star stands among its best documents, at their weighted mean."
"""Where the star stands on a UMAP."""
