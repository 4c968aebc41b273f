"""Cats and dogs of CIFAR-10 with a ResNet-9, SGD with momentum and a triangular learning rate (the paper's appendix E.1)."""
