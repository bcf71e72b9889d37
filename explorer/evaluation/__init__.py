"""Evaluation: mteb tasks on variants. engine.py runs them, tasks.py names them, results.py tells what came out."""
