"""Pooling Explorer: see, compare, train and test how language models become text-embedding models."""
