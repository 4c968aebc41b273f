"""The MNIST experiment over five epochs, to see how many of the steps a decomposition needs (the paper's appendix G.2)."""
