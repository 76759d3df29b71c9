"""Every option of `gap_fit` and its descriptors, with types, as of QUIP 0.10.3.

Taken from ``gap_fit --help``, the descriptors' own help and the parser of the ``gap=`` string.
`gap_fit` refuses an unknown option of its own but ignores an unknown option of a descriptor
without a word, so both are checked here.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

__all__ = [
    "COMMON_DESCRIPTOR_OPTIONS",
    "DESCRIPTOR_OPTIONS",
    "DESCRIPTOR_RESERVED",
    "FIT_OPTIONS",
    "FIT_RESERVED",
    "OptionValue",
    "check_options",
    "format_value",
    "near_miss",
]

OptionType = Literal["real", "integer", "logical", "string"]
OptionValue = bool | int | float | str

FIT_OPTIONS: Final[dict[str, OptionType]] = {
    "local_property0": "string",
    "e0_offset": "real",
    "default_kernel_regularisation_local_property": "real",
    "hessian_displacement": "real",
    "baseline_param_filename": "string",
    "baseline_ip_args": "string",
    "local_property_parameter_name": "string",
    "hessian_parameter_name": "string",
    "force_mask_parameter_name": "string",
    "local_property_mask_parameter_name": "string",
    "config_type_kernel_regularisation": "string",
    "kernel_regularisation_is_per_atom": "logical",
    "sparse_use_actual_gpcov": "logical",
    "verbosity": "string",
    "openmp_chunk_size": "integer",
    "do_ip_timing": "logical",
    "template_file": "string",
    "condition_number_norm": "string",
    "linear_system_dump_file": "string",
    "mpi_blocksize_rows": "integer",
    "mpi_blocksize_cols": "integer",
    "mpi_print_all": "logical",
    "export_covariance": "logical",
}

#: Options that are set elsewhere, and where.
FIT_RESERVED: Final[dict[str, str]] = {
    "config_file": "write its lines as options",
    "atoms_filename": "the training set is written by mlipdb",
    "gap": "use soap, two_body and three_body",
    "e0": "the isolated-atom energies of the training set are used",
    "e0_method": "use the field e0_method",
    "default_kernel_regularisation": "use the field sigmas",
    "sparse_jitter": "use the field sparse_jitter",
    "rnd_seed": "use the field seed",
    "energy_parameter_name": "mlipdb names the targets",
    "force_parameter_name": "mlipdb names the targets",
    "virial_parameter_name": "mlipdb names the targets",
    "stress_parameter_name": "mlipdb names the targets",
    "config_type_parameter_name": "mlipdb names the targets",
    "kernel_regularisation_parameter_name": "mlipdb names the targets",
    "parameter_name_prefix": "mlipdb names the targets",
    "gap_file": "mlipdb names the output",
    "do_copy_atoms_file": "the training set is kept as a file of its own",
    "sparse_separate_file": "mlipdb collects the files",
    "sparsify_only_no_fit": "it would give a potential that is zero",
    "dryrun": "it would give no potential",
}

COMMON_DESCRIPTOR_OPTIONS: Final[dict[str, OptionType]] = {
    "f0": "real",
    "lengthscale_factor": "string",
    "lengthscale_file": "string",
    "sparse_file": "string",
    "mark_sparse_atoms": "logical",
    "print_sparse_index": "string",
    "unique_hash_tolerance": "real",
    "unique_descriptor_tolerance": "real",
}

DESCRIPTOR_OPTIONS: Final[dict[str, dict[str, OptionType]]] = {
    "soap": {
        "lengthscale_uniform": "real",
        "cutoff_dexp": "integer",
        "cutoff_scale": "real",
        "cutoff_rate": "real",
        "central_reference_all_species": "logical",
        "average": "logical",
        "diagonal_radial": "logical",
        "covariance_sigma0": "real",
        "normalise": "logical",
        "basis_error_exponent": "real",
        "xml_version": "integer",
        "nu_R": "integer",
        "nu_S": "integer",
        "Z_mix": "logical",
        "R_mix": "logical",
        "sym_mix": "logical",
        "coupling": "logical",
        "K": "integer",
        "mix_shift": "integer",
        "Z_map": "string",
        "radial_basis": "string",
    },
    "distance_2b": {
        "soap_exponent": "real",
        "resid_name": "string",
        "only_intra": "logical",
        "only_inter": "logical",
        "n_exponents": "integer",
        "tail_range": "real",
        "tail_exponent": "integer",
        "exponents": "string",
    },
    "angle_3b": {"soap_exponent": "real"},
}

_SPECIES: Final = "mlipdb writes one descriptor for each combination of elements"
_DESCRIPTOR_FIELDS: Final = {
    "energy_scale": "use the field delta",
    "n_sparse": "use the field n_sparse",
    "config_type_n_sparse": "give n_sparse as a mapping of config types",
    "sparse_method": "use the field sparse_method",
    "covariance_type": "use the field covariance_type",
    "cutoff": "use the field cutoff",
    "cutoff_transition_width": "use the field cutoff_transition_width",
    "add_species": _SPECIES,
}
DESCRIPTOR_RESERVED: Final[dict[str, dict[str, str]]] = {
    "soap": {
        **_DESCRIPTOR_FIELDS,
        "soap_exponent": "use the field zeta",
        "atom_gaussian_width": "use the field atom_sigma",
        "l_max": "use the field l_max",
        "n_max": "use the field n_max",
        "central_weight": "use the field central_weight",
        "n_species": _SPECIES,
        "species_Z": _SPECIES,
        "n_Z": _SPECIES,
        "Z": _SPECIES,
    },
    "distance_2b": {
        **_DESCRIPTOR_FIELDS,
        "lengthscale_uniform": "use the field theta_uniform",
        "Z1": _SPECIES,
        "Z2": _SPECIES,
    },
    "angle_3b": {
        **_DESCRIPTOR_FIELDS,
        "lengthscale_uniform": "use the field theta_uniform",
        "Z_center": _SPECIES,
        "Z": _SPECIES,
        "Z1": _SPECIES,
        "Z2": _SPECIES,
    },
}

_ALIASES: Final = {
    "at_file": "atoms_filename",
    "default_sigma": "default_kernel_regularisation",
    "default_local_property_sigma": "default_kernel_regularisation_local_property",
    "hessian_delta": "hessian_displacement",
    "core_param_file": "baseline_param_filename",
    "core_ip_args": "baseline_ip_args",
    "sigma_parameter_name": "kernel_regularisation_parameter_name",
    "config_type_sigma": "config_type_kernel_regularisation",
    "sigma_per_atom": "kernel_regularisation_is_per_atom",
    "do_copy_at_file": "do_copy_atoms_file",
    "gp_file": "gap_file",
    "delta": "energy_scale",
    "theta_fac": "lengthscale_factor",
    "theta_uniform": "lengthscale_uniform",
    "theta_file": "lengthscale_file",
    "zeta": "soap_exponent",
    "atom_sigma": "atom_gaussian_width",
    "normalize": "normalise",
}
# No braces, quotes or line ends, which could end the value and begin another option; no slashes,
# since a file outside the fit's directory is not part of what the potential's key is made from.
_STRING = re.compile(r"[A-Za-z0-9_.:,+*=\- ]+")


def check_options(
    options: Mapping[str, Any], known: Mapping[str, OptionType], reserved: Mapping[str, str], owner: str
) -> dict[str, OptionValue]:
    """Check options and give them in one canonical form.

    Parameters
    ----------
    options
        Names and values as a user wrote them; aliases such as ``theta_fac`` are allowed.
    known
        Type of each option there is.
    reserved
        Options that are set elsewhere, and where.
    owner
        What the options belong to, for messages.

    Returns
    -------
    dict
        Sorted by name, aliases resolved, every value of the type the option has.

    Raises
    ------
    ValueError
        For an unknown, reserved, repeated or badly typed option.
    """
    checked: dict[str, OptionValue] = {}
    for given, value in options.items():
        name = _ALIASES.get(given, given)
        if name in reserved:
            raise ValueError(f"the option {given!r} of {owner} cannot be set here: {reserved[name]}")
        if name not in known:
            names = [*known, *reserved, *(alias for alias, to in _ALIASES.items() if to in known)]
            raise ValueError(f"{owner} has no option {given!r}{near_miss(given, names)}")
        if name in checked:
            raise ValueError(f"the option {name!r} of {owner} is given twice, once as {given!r}")
        try:
            checked[name] = _canonical(value, known[name])
        except ValueError as error:
            raise ValueError(f"the option {given!r} of {owner}: {error}") from error
    return dict(sorted(checked.items()))


def near_miss(name: str, names: list[str]) -> str:
    """Say which of names was probably meant, or nothing."""
    close = difflib.get_close_matches(name, sorted(set(names)), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def _canonical(value: Any, kind: OptionType) -> OptionValue:
    if kind == "logical":
        return _logical(value)
    if kind == "string":
        text = str(value).strip().strip("{}").strip() if isinstance(value, str | int | float) else ""
        if isinstance(value, bool) or not _STRING.fullmatch(text):
            raise ValueError(f"{value!r} is not plain text of letters, digits, blanks and _.:,+*=-")
        return text
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is a truth value; a number is expected")
    if kind == "integer":
        return _integer(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a finite number")
    return number


def _logical(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"t": True, "true": True, "f": False, "false": False}
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise ValueError(f"{value!r} is not true or false")


def _integer(value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{value!r} is not a whole number")
    return int(value)


def format_value(value: OptionValue) -> str:
    """Write a value the way QUIP reads it: ``T``/``F``, shortest exact number, or ``{text}``."""
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, str):
        return f"{{{value}}}"
    return repr(value)
