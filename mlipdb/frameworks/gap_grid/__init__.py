"""Many GAPs from one pass over the training set.

All potentials of a study that share descriptors and kernels are solved from the same sums::

    result = run_study(data, points, directory, options=StudyOptions(processes=2))
    potentials = load_potentials(directory, [fit.details["study_file"] for fit in result.fits])
    predictions = potentials.predict(test_frames)  # of every point, from one kernel evaluation
"""

from mlipdb.frameworks.gap_grid.points import StudyOptions, StudyPoint, can_share, partition, scale_warning
from mlipdb.frameworks.gap_grid.predict import Potentials, load_potentials
from mlipdb.frameworks.gap_grid.study import StudyResult, run_study

__all__ = [
    "Potentials",
    "StudyOptions",
    "StudyPoint",
    "StudyResult",
    "can_share",
    "load_potentials",
    "partition",
    "run_study",
    "scale_warning",
]
