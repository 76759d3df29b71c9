"""A level of theory: what must be equal for two calculations to be trained on together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from pydantic import Field

from mlipdb.schemas.common import Document
from mlipdb.schemas.keys import make_key

__all__ = ["ATOM_CUTOFF_TOLERANCE", "LevelOfTheory", "k_length_class"]

#: Largest relative difference between the cutoffs of an isolated atom and of crystals that share its
#: energy.  With PAW the energy of an atom changes by some meV between cutoffs this close, and it enters
#: every configuration alike; between two crystals the same difference would be noise in the labels.
ATOM_CUTOFF_TOLERANCE = 0.05

#: Lower edges of the k-density classes in Angstrom (see `k_length_class`), a factor sqrt(2) apart.
#: They lie between the lengths people ask for (10, 15, 20, 25, 30, 40), so that strain does not
#: carry a cell from one class into the next.
K_LENGTH_EDGES = (0.0, 6.7, 9.5, 13.4, 19.0, 26.9, 38.0, 53.7, 76.0)


def k_length_class(k_length: float) -> float:
    """Lower edge of the class a k-density belongs to.

    Parameters
    ----------
    k_length
        The smallest of n_i * L_i over the three axes, n_i k-points along a cell vector of
        length L_i: the size in Angstrom of the crystal that the mesh stands for.  VASP's
        KSPACING s corresponds to 2 pi / s.

    Returns
    -------
    float
        Angstrom.

    Examples
    --------
    >>> k_length_class(20.2), k_length_class(25.5), k_length_class(31.4)
    (19.0, 19.0, 26.9)
    """
    return max(edge for edge in K_LENGTH_EDGES if edge <= k_length)


class LevelOfTheory(Document):
    """Code, functional, +U, cutoff, pseudopotentials, k-density, spin and dispersion."""

    key_field: ClassVar[str] = "level_id"
    prefix: ClassVar[str] = "lvl"

    level_id: str = Field("", description="Hash of all of it; two levels never mix in one training set")
    hamiltonian_id: str = Field(
        "",
        description="Hash of code, functional, cutoff and dispersion: what crystals of any elements share, and with "
        "them an isolated atom, computed spin-polarised at Gamma, unless its cutoff is another one",
    )
    label: str = Field("", description="Readable, such as 'PBE, Quantum ESPRESSO pw.x, 245 eV, k-mesh >= 19 A'")
    code: str = Field(description="Program, without its version")
    functional: str = Field(description="Exchange-correlation functional, such as PBE")
    hubbard_u: dict[str, float] = Field(default_factory=dict, description="+U per element, eV")
    cutoff_ev: float | None = Field(None, description="Plane-wave cutoff, eV; None for other bases")
    pseudopotentials: dict[str, str] = Field(default_factory=dict, description="Per element")
    k_length_class: float | None = Field(None, description="Class of the k-density, Angstrom; None unknown")
    spin_polarised: bool | None = Field(None, description="None where it is not known")
    dispersion: str | None = Field(None, description="Dispersion correction, such as D3(BJ)")
    method: str | None = Field(
        None, description="Such as PAW; told by the pseudopotentials already, so no part of the hash"
    )
    k_spacing: float | None = Field(
        None, description="VASP's KSPACING, 1/Angstrom, where it made the k-points; no part of the hash"
    )

    def hamiltonian(self) -> dict[str, Any]:
        """The part of the identity that an isolated atom shares with crystals of any elements.

        Cutoff is rounded to 0.1 eV: the same input in Ry and in eV is one level.
        """
        return {
            "code": self.code.lower(),
            "functional": self.functional.lower(),
            "cutoff_ev": None if self.cutoff_ev is None else round(self.cutoff_ev, 1),
            "dispersion": self.dispersion,
        }

    def by_element(self) -> dict[str, tuple[str | None, float]]:
        """Pseudopotential and +U (eV) of each element that has one."""
        elements = sorted({*self.pseudopotentials, *self.hubbard_u})
        return {name: (self.pseudopotentials.get(name), round(self.hubbard_u.get(name, 0.0), 4)) for name in elements}

    def agrees(self, other: LevelOfTheory, *, atom: bool = False) -> bool:
        """Whether calculations at both levels may stand in one training set.

        Two crystals of different elements agree when everything but the elements is the same, and so
        are pseudopotential and +U of the elements they share.

        Parameters
        ----------
        other
            Another level.
        atom
            One of the two is an isolated atom, whose k-points and spin are its own, and whose cutoff may
            differ by `ATOM_CUTOFF_TOLERANCE`.
        """
        mine, theirs = self.by_element(), other.by_element()
        if any(mine[name] != theirs[name] for name in mine.keys() & theirs.keys()):
            return False
        if atom:
            rest = [{**level.hamiltonian(), "cutoff_ev": None} for level in (self, other)]
            return rest[0] == rest[1] and self.cutoff_difference(other) <= ATOM_CUTOFF_TOLERANCE
        cell = (self.k_length_class, self.spin_polarised) == (other.k_length_class, other.spin_polarised)
        return cell and self.hamiltonian() == other.hamiltonian()

    def cutoff_difference(self, other: LevelOfTheory) -> float:
        """Difference of two cutoffs over the larger one; infinite if only one is known."""
        mine, theirs = (level.hamiltonian()["cutoff_ev"] for level in (self, other))
        if mine is None or theirs is None:
            return 0.0 if mine is theirs else float("inf")
        return 0.0 if mine == theirs else float(abs(mine - theirs) / max(mine, theirs))

    def joined(self, others: Iterable[LevelOfTheory]) -> LevelOfTheory:
        """The level of several that agree: with the pseudopotentials and +U of all their elements."""
        levels = [self, *others]
        pseudopotentials = {key: value for level in levels for key, value in level.pseudopotentials.items()}
        hubbard_u = {key: value for level in levels for key, value in level.hubbard_u.items()}
        update: dict[str, Any] = {"pseudopotentials": pseudopotentials, "hubbard_u": hubbard_u}
        for name in ("method", "k_spacing"):
            if len({getattr(level, name) for level in levels}) > 1:
                update[name] = None
        return self.model_copy(update=update).with_keys()

    def identity(self) -> dict[str, Any]:
        """Everything the key is a hash of."""
        return {
            **self.hamiltonian(),
            "hubbard_u": {key: round(value, 4) for key, value in self.hubbard_u.items()},
            "pseudopotentials": self.pseudopotentials,
            "k": self.k_length_class,
            "spin": self.spin_polarised,
        }

    def with_keys(self) -> LevelOfTheory:
        """A copy with `level_id`, `hamiltonian_id` and `label` filled in."""
        return self.model_copy(
            update={
                "level_id": make_key("lvl", self.identity()),
                "hamiltonian_id": make_key("ham", self.hamiltonian()),
                "label": self._readable(),
            }
        )

    def _readable(self) -> str:
        parts = [self.functional, self.code]
        if self.hubbard_u:
            parts.append("+U " + ", ".join(f"{el} {u:g} eV" for el, u in sorted(self.hubbard_u.items())))
        if self.method:
            parts.append(self.method)
        if self.cutoff_ev is not None:
            parts.append(f"{self.cutoff_ev:.0f} eV")
        if self.k_spacing:
            parts.append(f"KSPACING {self.k_spacing:g}")
        elif self.k_length_class:
            parts.append(f"k-mesh >= {self.k_length_class:g} A")
        if self.spin_polarised:
            parts.append("spin-polarised")
        if self.dispersion:
            parts.append(self.dispersion)
        return ", ".join(parts)
