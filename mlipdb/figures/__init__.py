"""Figures from documents alone: plain dicts as the database gives them, nothing read or computed again.

Every function returns a `matplotlib.figure.Figure` that belongs to no window and no global state::

    from mlipdb.figures import band_structure, save

    save(band_structure(phonon, benchmarks), "figures/diamond.pdf")

matplotlib is imported when a figure is made, not before.
"""

from mlipdb.figures.bands import band_structure
from mlipdb.figures.files import save
from mlipdb.figures.scatter import phonon_rmse_against_force_rmse, rmse_against_n_sparse
from mlipdb.figures.study import pareto_front, study_heat_maps, study_pareto

__all__ = [
    "band_structure",
    "pareto_front",
    "phonon_rmse_against_force_rmse",
    "rmse_against_n_sparse",
    "save",
    "study_heat_maps",
    "study_pareto",
]
