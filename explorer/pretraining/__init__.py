"""Pretraining of a small causal language model: the architecture is transformers' own, the text and tokenizer are ours.

python -m explorer pretrain --text novels.txt.xz --output DIR
python -m explorer perplexity --model DIR --text novels.txt.xz
"""
