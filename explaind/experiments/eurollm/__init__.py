"""EuroLLM's pretraining at any size: multilingual text, a Llama, and the batches that train it."""
