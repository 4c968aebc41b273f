"""Parity of a few bits with a network of one hidden layer: an experiment that the project does not have."""
