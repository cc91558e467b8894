"""Models as files that need no model: `model.export("digits.stablehlo")`.

Such a file is a program: the forward pass with its weights, in StableHLO, which any
process with JAX runs, without the classes that made it; `kerasnb.export.load` reads it.
"""

from kerasnb.export.model import Export as Export
from kerasnb.export.model import export_model as export_model
from kerasnb.export.program import Program as Program
from kerasnb.export.program import load as load
