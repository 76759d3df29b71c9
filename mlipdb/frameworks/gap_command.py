"""From hyperparameters to the words of a `gap_fit` command."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from mlipdb.errors import FitError
from mlipdb.frameworks.gap_hyperparameters import (
    AngleDescriptor,
    DescriptorBase,
    DistanceDescriptor,
    GapHyperparameters,
    SoapDescriptor,
)
from mlipdb.frameworks.gap_options import format_value

__all__ = ["CONFIG_FILE", "GAP_FILE", "TRAINING_FILE", "descriptor_strings", "gap_fit_words"]

TRAINING_FILE: Final = "train.xyz"
GAP_FILE: Final = "gap.xml"
CONFIG_FILE: Final = "gap_fit.config"
# QUIP holds the gap string in 10,240 characters and other values in 1,024, and cuts what is longer.
_MAX_GAP: Final = 10_000
_MAX_VALUE: Final = 1_000
# What each target is called in the training set (`mlipdb.physics.extxyz`).
_NAMES: Final = {
    "energy_parameter_name": "REF_energy",
    "force_parameter_name": "REF_forces",
    "virial_parameter_name": "REF_virial",
    # Stresses would be read too, and count as further virials.  No key has this name.
    "stress_parameter_name": "no_stress",
    "hessian_parameter_name": "REF_hessian",
    "config_type_parameter_name": "config_type",
    # Reads energy_sigma, virial_sigma and the column force_atom_sigma.
    "kernel_regularisation_parameter_name": "sigma",
}


def gap_fit_words(
    hyperparameters: GapHyperparameters,
    atomic_numbers: Sequence[int],
    isolated_atom_energies: Mapping[str, float],
    *,
    without: Collection[str] = (),
) -> list[str]:
    """Arguments of `gap_fit`, by relative file names only.

    Parameters
    ----------
    hyperparameters
        The hyperparameters.
    atomic_numbers
        Elements of the training set.
    isolated_atom_energies
        eV, by symbol, for every element; not used with ``e0_method="average"``.

    without
        Descriptors to leave out, as `gap_fit` writes them into its log.

    Returns
    -------
    list of str
        One ``name=value`` each.

    Raises
    ------
    FitError
        If no descriptor is left, or a value is longer than `gap_fit` reads.
    """
    descriptors = [
        text
        for text in descriptor_strings(hyperparameters, atomic_numbers)
        if text.replace("{{", "{").replace("}}", "}") not in without
    ]
    if not descriptors:
        raise FitError(
            "no two atoms of the training set are within a descriptor's cutoff; give a larger cutoff",
            reason="no_environments",
        )
    sigmas = hyperparameters.sigmas
    default_sigmas = " ".join(map(repr, (sigmas.energy, sigmas.force, sigmas.virial, sigmas.hessian)))
    words = {
        "atoms_filename": TRAINING_FILE,
        "gap": _gap_word(descriptors, hyperparameters, numbers=atomic_numbers),
        "default_kernel_regularisation": "{" + default_sigmas + "}",
        "kernel_regularisation_is_per_atom": "T",
        **_NAMES,
        "sparse_jitter": repr(hyperparameters.sparse_jitter),
        "rnd_seed": str(hyperparameters.seed),
        "sparse_separate_file": "T",
        "do_copy_atoms_file": "F",
        "gap_file": GAP_FILE,
    }
    if hyperparameters.e0_method == "isolated":
        energies = (f"{symbol}:{energy!r}" for symbol, energy in isolated_atom_energies.items())
        words["e0"] = "{" + ":".join(energies) + "}"
    else:
        words["e0_method"] = "average"
    words.update({name: format_value(value) for name, value in hyperparameters.options.items()})
    too_long = [name for name, value in words.items() if name != "gap" and len(value) > _MAX_VALUE]
    if too_long:
        raise FitError(
            f"gap_fit cuts the value of {', '.join(too_long)}, longer than {_MAX_VALUE} characters, without "
            "a word; make it shorter",
            reason="value_too_long",
        )
    return [f"{name}={value}" for name, value in words.items()]


def _gap_word(descriptors: Sequence[str], hyperparameters: GapHyperparameters, *, numbers: Sequence[int]) -> str:
    word = "{" + " : ".join(descriptors) + "}"
    if len(word) <= _MAX_GAP:
        return word
    # Four elements with triplets are already too many words for gap_fit, unless it makes the
    # combinations of pairs and triplets itself.
    texts = [
        " ".join([descriptor.kind, *species, *_shared_words(descriptor, add_species=not species)])
        for descriptor in hyperparameters.descriptors
        for species in (_species_words(descriptor, sorted(set(numbers))) if descriptor.kind == "soap" else [[]])
    ]
    return "{" + " : ".join(texts) + "}"


def descriptor_strings(hyperparameters: GapHyperparameters, atomic_numbers: Sequence[int]) -> list[str]:
    """One descriptor string for each combination of elements of each descriptor.

    Parameters
    ----------
    hyperparameters
        The hyperparameters.
    atomic_numbers
        Elements of the training set, in any order.

    Returns
    -------
    list of str
        As `gap_fit` reads them between colons.
    """
    numbers = sorted(set(atomic_numbers))
    return [
        " ".join([descriptor.kind, *species, *_shared_words(descriptor)])
        for descriptor in hyperparameters.descriptors
        for species in _species_words(descriptor, numbers)
    ]


def _species_words(descriptor: DescriptorBase, numbers: Sequence[int]) -> Iterator[list[str]]:
    pairs = list(itertools.combinations_with_replacement(numbers, 2))
    if isinstance(descriptor, DistanceDescriptor):
        yield from ([f"Z1={first}", f"Z2={second}"] for first, second in pairs)
    elif isinstance(descriptor, AngleDescriptor):
        for center in numbers:
            yield from ([f"Z_center={center}", f"Z1={first}", f"Z2={second}"] for first, second in pairs)
    else:
        # QUIP takes one pair of braces off when it reads gap={...}.
        neighbours = "{{" + " ".join(map(str, numbers)) + "}}"
        for center in numbers:
            yield [f"Z={center}", f"n_species={len(numbers)}", f"species_Z={neighbours}"]


def _shared_words(descriptor: DescriptorBase, *, add_species: bool = False) -> Iterator[str]:
    yield f"cutoff={descriptor.cutoff!r}"
    yield f"cutoff_transition_width={descriptor.cutoff_transition_width!r}"
    if isinstance(descriptor, SoapDescriptor):
        yield f"l_max={descriptor.l_max} n_max={descriptor.n_max}"
        yield f"atom_sigma={descriptor.atom_sigma!r} central_weight={descriptor.central_weight!r}"
        if descriptor.covariance_type == "dot_product":
            yield f"zeta={descriptor.zeta!r}"
    elif isinstance(descriptor, DistanceDescriptor | AngleDescriptor) and descriptor.theta_uniform is not None:
        yield f"theta_uniform={descriptor.theta_uniform!r}"
    yield f"covariance_type={descriptor.covariance_type}"
    yield f"delta={descriptor.delta!r}"
    yield f"sparse_method={descriptor.sparse_method}"
    if isinstance(descriptor.n_sparse, dict):
        counts = ":".join(f"{name}:{count}" for name, count in descriptor.n_sparse.items())
        yield f"config_type_n_sparse={{{{{counts}}}}}"
    else:
        yield f"n_sparse={descriptor.n_sparse}"
    yield f"add_species={format_value(add_species)}"
    for name, value in descriptor.options.items():
        yield (f"{name}={{{format_value(value)}}}" if isinstance(value, str) else f"{name}={format_value(value)}")
