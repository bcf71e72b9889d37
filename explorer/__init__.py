"""Pooling Explorer: see, compare, train and test how language models become text-embedding models."""

import os

# Read once by the libraries, so set before any of them is imported.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # nothing leaves the machine unless the user asks for it
# Threads that wait sleep instead of spinning: beside a fine-tune on two cores, encoding was 4 times slower without.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
