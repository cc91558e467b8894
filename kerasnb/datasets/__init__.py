"""Data to learn on: one set in the package, others downloaded once."""

from kerasnb.datasets import digits28, fashion_mnist, mnist

__all__ = ["digits28", "fashion_mnist", "mnist"]
