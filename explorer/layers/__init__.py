"""What a pooler reads of the layers, and whether it matters.

lab = LayerLab(Comparer(Shelf()))                  # lab.py: everything below, by the names of variants and corpora
lab.read("multi-layer-bidirectional", "a text")    # reading.py: weights, words, contributions, every step
lab.rerank(variant, corpus, query, off=[6])        # ablation.py: layers switched off, from stored states
lab.probe(variant, corpus)                         # probe.py: every layer's own vector
"""
