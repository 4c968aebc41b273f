"""The modulo-addition Transformer of the paper's first case study (grokking)."""
