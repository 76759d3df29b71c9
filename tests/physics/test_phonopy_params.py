"""Parameter files are data: they are checked, and never make Python objects."""

from __future__ import annotations

import pytest

from mlipdb.errors import PhononError
from mlipdb.physics.phonopy_params import phonopy_from_params

BAD = {
    "empty": "",
    "not yaml": "a: [1, 2",
    "no cell": "phonopy: {version: '4'}\n",
    "a list": "- 1\n- 2\n",
    "python object": "unit_cell: !!python/object/apply:os.getcwd []\n",
    "short arrays": "unit_cell: {lattice: [[1,0,0],[0,1,0],[0,0,1]], "
    "points: [{symbol: Si, coordinates: [0,0,0], mass: 28}]}\n"
    "supercell_matrix: [[1,0,0],[0,1,0],[0,0,1]]\nprimitive_matrix: [[1,0,0],[0,1,0],[0,0,1]]\n"
    "force_constants: {shape: [2, 2], elements: [[1, 2, 3]]}\n",
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_files_are_refused(name: str) -> None:
    with pytest.raises(PhononError) as caught:
        phonopy_from_params(BAD[name])
    assert caught.value.reason == "bad_phonopy_params"
