"""MLIP frameworks: what fits a potential to a training set and evaluates it.

A framework is found by name, among the built-in ones and those other packages declare as entry
points of the group ``mlipdb.frameworks``.  Nothing is imported before it is asked for::

    from mlipdb.frameworks import get_framework

    gap = get_framework("gap")
    hyperparameters = gap.Hyperparameters.model_validate({"soap": {"n_sparse": 500}})
"""

from mlipdb.frameworks.base import FitInput, FitResult, Framework, framework_names, get_framework

__all__ = ["FitInput", "FitResult", "Framework", "framework_names", "get_framework"]
