"""Eight lessons on pooling and attention: a question, a prediction, then what the shipped checkpoints really do.

course.py holds the lessons, lesson.py says what one is; experiments.py measures what a lesson reveals, reproduce.py
tests a claim of the paper on the shipped checkpoints; bench.py is what both compute with; glossary.py explains the
words of the page. No number stands here: all are measured when a lesson is taken, on the built-in corpus `everyday`.
"""
