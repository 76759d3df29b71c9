"""VASP calculations made up for tests: the same numbers as a task document, as vasprun.xml and as OUTCAR."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

Raw = dict[str, Any]
#: Calculations that this project did not make; beside it, never in it.
REAL = Path(__file__).parents[3] / "shared" / "real"
LICL, EMMET = REAL / "autoplex-licl", REAL / "emmet"

need_real = pytest.mark.skipif(not REAL.is_dir(), reason="the real calculations (../shared/real) are not beside this")


def load(path: Path) -> list[Raw]:
    """The documents of a gzipped JSON or JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        if ".jsonl" in path.name:
            return [json.loads(line) for line in stream]
        content = json.load(stream)
    return content if isinstance(content, list) else [content]


@dataclass
class Run:
    """One VASP run of NaCl in its primitive cell, one atom off its site."""

    energy: float = -6.75012345
    forces: list[list[float]] = field(default_factory=lambda: [[0.01234567, -0.2, 0.0], [-0.01234567, 0.2, 0.0]])
    stress: list[list[float]] = field(
        default_factory=lambda: [[1.5, 0.25, -0.5], [0.25, -2.0, 0.75], [-0.5, 0.75, 3.0]]
    )
    cell: list[list[float]] = field(default_factory=lambda: [[0.0, 2.85, 2.85], [2.85, 0.0, 2.85], [2.85, 2.85, 0.0]])
    positions: list[list[float]] = field(default_factory=lambda: [[0.00354321, 0.0, 0.0], [0.5, 0.5, 0.5]])
    symbols: list[str] = field(default_factory=lambda: ["Na", "Cl"])
    potcars: list[str] = field(default_factory=lambda: ["PAW_PBE Na_pv 19Sep2006", "PAW_PBE Cl 06Sep2000"])
    incar: Raw = field(default_factory=lambda: {"ENCUT": 520.0, "GGA": "Ps", "ISPIN": 1, "NELM": 40, "NSW": 0})
    mesh: list[int] | None = field(default_factory=lambda: [6, 6, 6])
    electronic: int = 9
    ionic: int = 1

    def parameters(self) -> Raw:
        """What VASP says it ran with."""
        base = {"ENMAX": 520.0, "GGA": "PS", "ISPIN": 1, "NELM": 40, "ICHARG": 2, "KSPACING": 0.5, "LHFCALC": False}
        return {**base, **{("ENMAX" if key == "ENCUT" else key): value for key, value in self.incar.items()}}

    def structure(self) -> Raw:
        """As pymatgen writes it."""
        sites = [
            {"species": [{"element": name, "occu": 1}], "abc": abc, "label": name, "properties": {}}
            for name, abc in zip(self.symbols, self.positions, strict=True)
        ]
        return {"@module": "pymatgen.core.structure", "@class": "Structure", "lattice": {"matrix": self.cell},
                "sites": sites}  # fmt: skip

    def step(self) -> Raw:
        """The last ionic step of a document."""
        return {
            "e_fr_energy": self.energy,
            "e_wo_entrp": self.energy + 0.001,
            "e_0_energy": 0.0,
            "forces": self.forces,
            "stress": self.stress,
            "structure": self.structure(),
            "electronic_steps": [{"e_fr_energy": self.energy}] * self.electronic,
        }

    def document(self, **changes: Any) -> Raw:
        """An emmet TaskDoc."""
        early = {**self.step(), "e_fr_energy": -1.0, "forces": [[9.0, 0.0, 0.0], [-9.0, 0.0, 0.0]]}
        inputs = {
            "incar": self.incar,
            "parameters": self.parameters(),
            "kpoints": {"generation_style": "Gamma", "kpoints": [self.mesh]} if self.mesh else None,
            "potcar_spec": [{"titel": titel, "hash": None} for titel in self.potcars],
            "hubbards": {},
        }
        document = {
            "task_id": "mp-149",
            "state": "successful",
            "task_label": "static",
            "run_type": "PBEsol",
            "last_updated": "2024-03-22T20:04:08Z",
            "dir_name": "host:/scratch/block/launcher_1",
            "output": {
                "energy": self.energy + 0.0005,
                "forces": self.forces,
                "stress": self.stress,
                "structure": self.structure(),
            },
            "calcs_reversed": [
                {
                    "has_vasp_completed": "successful",
                    "input": inputs,
                    "output": {"ionic_steps": [*[early] * (self.ionic - 1), self.step()]},
                }
            ],
            "orig_inputs": {"incar": {"ENCUT": 1.0}},
            "structure": self.structure(),
        }
        return {**document, **changes}

    def jobflow(self, **changes: Any) -> Raw:
        """A document of a jobflow store with the TaskDoc in it."""
        output = {"@module": "emmet.core.tasks", "@class": "TaskDoc", **self.document(task_id=None)}
        document = {"uuid": "0f3f0f6e-1111-4222-8333-444455556666", "index": 1, "name": "static", "metadata": {},
                    "completed_at": "2024-03-22T21:04:08.5", "output": output}  # fmt: skip
        return {**document, **changes}

    def vasprun(self) -> str:
        """A vasprun.xml, with the parts that are skipped while it is read."""
        steps = "".join(self._calculation(last=number == self.ionic) for number in range(1, self.ionic + 1))
        atoms = "".join(f"<rc><c>{name[:1]} </c><c> {n} </c></rc>" for n, name in enumerate(self.symbols, start=1))
        kinds = "".join(
            f"<rc><c> 1</c><c>{name}</c><c> 1.0</c><c> 1.0</c><c>  {titel}   </c></rc>"
            for name, titel in zip(self.symbols, self.potcars, strict=True)
        )
        mesh = (
            f'<generation param="Gamma"><v type="int" name="divisions"> {_row(self.mesh)} </v></generation>'
            if self.mesh
            else '<generation param="listgenerated"/>'
        )
        return (
            '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n'
            '<generator><i name="version" type="string">6.4.2 </i></generator>\n'
            f"<incar>{_tags(self.incar)}</incar>\n"
            '<structure name="primitive_cell"><crystal/></structure>\n'
            f'<kpoints>{mesh}<varray name="kpointlist"><v> 0 0 0 </v></varray></kpoints>\n'
            f'<parameters><separator name="electronic">{_tags(self.parameters())}'
            '<separator name="dos"><i name="EMIN"> 10.0</i></separator></separator></parameters>\n'
            f'<atominfo><array name="atoms"><set>{atoms}</set></array>'
            f'<array name="atomtypes"><set>{kinds}</set></array></atominfo>\n'
            f'{steps}<structure name="finalpos"/>\n</modeling>\n'
        )

    def _calculation(self, *, last: bool) -> str:
        forces = self.forces if last else [[9.0, 0.0, 0.0]] * len(self.forces)
        scf = "<scstep><energy><i name='e_fr_energy'> 1.0 </i></energy></scstep>" * (self.electronic if last else 3)
        return (
            f"<calculation>{scf}<structure><crystal>{_varray('basis', self.cell)}"
            f"{_varray('rec_basis', self.cell)}</crystal>{_varray('positions', self.positions)}</structure>"
            f"{_varray('forces', forces)}{_varray('stress', self.stress)}"
            f"<energy><i name='e_fr_energy'> {self.energy if last else -1.0} </i>"
            "<i name='e_0_energy'> 0.0 </i></energy>"
            "<eigenvalues><array><set><r> 1.0 1.0 </r></set></array></eigenvalues>"
            "<projected><array><set><r> 1.0 1.0 </r></set></array></projected></calculation>\n"
        )

    def outcar(self) -> str:
        """An OUTCAR with what ASE and the header need."""
        cell = [[*row, 0.0, 0.0, 0.0] for row in self.cell]
        cartesian = [
            [sum(abc[k] * self.cell[k][axis] for k in range(3)) for axis in range(3)] for abc in self.positions
        ]
        xx, yy, zz, xy, yz, xz = (self.stress[i][j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2)))
        table = [[*place, *force] for place, force in zip(cartesian, self.forces, strict=True)]
        title = "".join(f" POTCAR:    {titel}\n" for titel in self.potcars) * 2  # once in the list, once with each
        title += "".join(f"   TITEL  = {titel}\n" for titel in self.potcars)
        lines = [
            f" vasp.6.4.2 20Jul23\n{title}",
            " Following reciprocal coordinates:\n            Coordinates               Weight\n",
            "  0.000000  0.000000  0.000000      1.000000\n  0.500000  0.500000  0.500000      7.000000\n \n",
            f"   number of ions     NIONS = {len(self.symbols):6d}\n",
            f"   ions per type =    {_row([1] * len(self.symbols))}\n",
            "   ICHARG =      2    charge\n   ISPIN  =      1    spin\n",
            f"   ENCUT  =  {self.incar['ENCUT']:.1f} eV  38.22 Ry\n",
            f"   NELM   =     {self.incar['NELM']};   NELMIN=  2; NELMDL= -5\n   GGA     =    PS    GGA type\n",
            "   LHFCALC =     F    Hartree Fock is set to\n   METAGGA=      F    non-selfconsistent\n",
            "   Spin polarized     = F\n",
        ]
        for number in range(1, self.electronic + 1):
            lines.append(f"----------- Iteration      1({number:4d})  -----------\n")
        lines += [
            f"  FORCE on cell =-STRESS in cart. coord.  units (eV):\n  in kB  {_row([xx, yy, zz, xy, yz, xz])}\n",
            "      direct lattice vectors                 reciprocal lattice vectors\n",
            *(f"  {_row(f'{value:.9f}' for value in row)}\n" for row in cell),
            "\n POSITION                                       TOTAL-FORCE (eV/Angst)\n ------------------------\n",
            *(f"  {_row(f'{value:.6f}' for value in row)}\n" for row in table),
            " -----------------------\n",
            "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  ------------------------\n",
            f"  free  energy   TOTEN  =  {self.energy:.8f} eV\n\n",
            f"  energy  without entropy=  {self.energy + 0.001:.8f}  energy(sigma->0) =  {self.energy + 0.0005:.8f}\n",
            " General timing and accounting informations for this job:\n",
        ]
        return "".join(lines)

    def write(self, folder: Path) -> Path:
        """A directory with a gzipped vasprun.xml and nothing else."""
        folder.mkdir(parents=True)
        with gzip.open(folder / "vasprun.xml.gz", "wb") as stream:
            stream.write(self.vasprun().encode("latin-1"))
        return folder


def _row(values: Any) -> str:
    return " ".join(str(value) for value in values)


def _varray(name: str, rows: list[list[float]]) -> str:
    return f'<varray name="{name}">' + "".join(f"<v> {_row(row)} </v>" for row in rows) + "</varray>"


def _tags(tags: Raw) -> str:
    return "".join(_tag(name, value) for name, value in tags.items())


def _tag(name: str, value: Any) -> str:
    if isinstance(value, list):
        return f'<v name="{name}"> {_row(value)} </v>'
    if isinstance(value, bool):
        return f'<i type="logical" name="{name}"> {"T" if value else "F"} </i>'
    kind = {int: ' type="int"', str: ' type="string"'}.get(type(value), "")
    return f'<i{kind} name="{name}"> {value} </i>'
