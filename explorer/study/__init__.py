"""The controlled comparison of the paper: designs x seeds, trained alike, evaluated alike, tested, reported.

plan.py says what belongs to a study, execute.py makes what is missing of it (meter.py tells how far it is), collect.py
takes in what was made elsewhere; evidence.py reads the runs, analysis.py turns them into numbers and tests, claims.py
holds them against the paper, limits.py says what cannot be concluded, and summary.py puts all of it into one document,
from which report.py and markdown.py write (words.py, svg.py). results.py is that document and what the page reads:
`Study.load(folder)` opens a study without computing.
"""
