"""What experiments on language models share: batches of multilingual text, training with checkpoints, and opening these again."""
