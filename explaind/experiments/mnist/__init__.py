"""MNIST digits with a small convolutional network, one epoch of AdamW (the paper's appendix E.1)."""
