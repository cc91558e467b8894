"""Models: layers that can be trained, summarised and saved."""

from kerasnb.models.clone import clone_model as clone_model
from kerasnb.models.functional import Functional as Functional
from kerasnb.models.model import Model as Model
from kerasnb.models.model import model_from_json as model_from_json
from kerasnb.models.sequential import Sequential as Sequential
from kerasnb.saving import load_model as load_model
from kerasnb.saving import save_model as save_model
