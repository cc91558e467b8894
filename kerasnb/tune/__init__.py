"""The search for good settings, on Optuna: `kerasnb.tune.search(build, x, y)`.

`build(trial)` returns a compiled model and asks Optuna's own trial for what is to be
tried: `trial.suggest_int("units", 8, 256, log=True)`. Optuna comes with
`pip install 'kerasnb[tune]'` and is imported when a search begins.
"""

from kerasnb.tune.pruning import Pruning as Pruning
from kerasnb.tune.study import Study as Study
from kerasnb.tune.study import Trial as Trial
from kerasnb.tune.study import search as search
