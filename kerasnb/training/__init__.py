"""How a model learns: data in batches, one compiled loop, and what is made of it."""
