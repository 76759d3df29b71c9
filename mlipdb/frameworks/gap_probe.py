"""The program of the child process in which a GAP is loaded for the first time.

QUIP ends the process on a malformed file, with exit code 0, so nothing but the answer line counts.
Run as a file, not imported: it needs ASE and quippy only.
"""

from __future__ import annotations

import json
import sys

ANSWER = "MLIPDB-GAP-PROBE "


def main() -> None:
    """Load the potential named on the command line and evaluate the structure given on stdin."""
    from ase import Atoms
    from quippy.potential import Potential

    structure = json.loads(sys.stdin.read())
    atoms = Atoms(
        numbers=structure["numbers"],
        positions=structure["positions"],
        cell=structure["cell"],
        pbc=structure["pbc"],
    )
    potential = Potential(param_filename=sys.argv[1])
    potential.calculate(atoms, properties=["energy", "forces", "stress"], system_changes=["positions"])
    results = potential.results
    answer = {
        "energy": float(results["energy"]),
        "forces": results["forces"].tolist(),
        "stress": results["stress"].tolist(),
    }
    sys.stdout.write("\n" + ANSWER + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
