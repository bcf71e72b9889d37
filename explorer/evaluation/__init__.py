"""Evaluation: mteb's tasks, built-in ones and one's own, on variants.

engine.py runs them (`evaluate`), tracker.py tells how far it is, store.py keeps what is finished, results.py has the
table (`Evaluation`), exports.py writes it. tasks.py names tasks: official.py (the hub, local files, the check of their
data), builtin.py, own.py, from_rows.py; catalogue.py lists them, estimates.py says how long they take, sampling.py cuts
them. models.py puts our encoders and BM25 behind mteb's protocols, vectors.py caches vectors text by text, examples.py
keeps what happened to single examples, published.py knows what others published. commands.py is the command line.
"""
