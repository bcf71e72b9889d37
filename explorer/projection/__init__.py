"""How embedding spaces look, and how far their pictures can be believed.

lab = MapLab(Comparer(Shelf()))                    # lab.py: everything below, by the names of variants and corpora
space = lab.draw(corpus, ["a", "b"], MapSettings())  # layout.py: PCA, UMAP from the neighbours, one map onto another
lab.measure(space)                                 # quality.py: trustworthiness, neighbours kept, silhouette, isotropy
lab.change(corpus, "a", "b", 15)                   # neighbours.py: what moved, in the original space
shading.by_label(corpus)                           # shading.py: values -> a few codes with a legend
"""
