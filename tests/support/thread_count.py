"""How many threads libraries run beside Python's own in a worker process, after work that would use them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

Raw = dict[str, Any]

#: Stillinger and Weber, Phys. Rev. B 31, 5262 (1985).
STILLINGER_WEBER = """<SW_params n_types="1" label="PRB_31">
<per_type_data type="1" atomic_num="14" />
<per_pair_data atnum_i="14" atnum_j="14" AA="7.049556277" BB="0.6022245584"
      p="4" q="0" a="1.80" sigma="2.0951" eps="2.1675" />
<per_triplet_data atnum_c="14" atnum_j="14" atnum_k="14"
      lambda="21.0" gamma="1.20" eps="2.1675" />
</SW_params>"""


def library_threads(item: Raw) -> Raw:
    """Multiply matrices with numpy, solve with scipy, evaluate with quippy; then count (Linux)."""
    import numpy as np
    import scipy.linalg
    from ase.build import bulk
    from quippy.descriptors import Descriptor
    from quippy.potential import Potential

    matrix = np.eye(700) + np.ones((700, 700))
    solved = scipy.linalg.solve(matrix @ matrix, np.ones(700))
    atoms = bulk("Si", cubic=True) * (3, 3, 3)
    atoms.calc = Potential("IP SW", param_str=STILLINGER_WEBER)
    energy = atoms.get_potential_energy()
    soap = Descriptor("soap cutoff=4.0 l_max=4 n_max=4 atom_sigma=0.5 n_Z=1 Z={14} n_species=1 species_Z={14}")
    soap.calc(atoms, grad=True)
    threads = len(list(Path("/proc/self/task").iterdir()))
    return {
        "label": item["label"],
        "did": bool(np.isfinite(energy) and np.all(np.isfinite(solved))),
        "threads": threads - threading.active_count(),
    }
