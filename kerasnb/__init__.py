"""Keras rebuilt for the notebook, on JAX alone: `import kerasnb as keras`."""

__version__ = "0.1.0"
