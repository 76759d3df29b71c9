from __future__ import annotations

import pytest

from mlipdb.errors import FitError
from mlipdb.frameworks.gap_command import descriptor_strings, gap_fit_words
from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters


def test_one_descriptor_for_each_combination_of_elements() -> None:
    hyperparameters = GapHyperparameters.model_validate({"two_body": {}, "three_body": {}})
    texts = descriptor_strings(hyperparameters, [17, 3, 3])
    assert [text.split()[0] for text in texts] == ["distance_2b"] * 3 + ["angle_3b"] * 6 + ["soap"] * 2
    assert "Z1=3 Z2=17" in texts[1]
    assert "Z_center=17 Z1=3 Z2=17" in texts[7]
    assert "soap Z=17 n_species=2 species_Z={{3 17}}" in texts[10]
    assert all("add_species=F" in text for text in texts)


def test_words() -> None:
    hyperparameters = GapHyperparameters.model_validate(
        {
            "soap": {
                "n_sparse": {"bulk": 3, "atom": 1},
                "options": {"radial_basis": "POLY", "diagonal_radial": 1 == 1},
            },
            "options": {"verbosity": "VERBOSE", "openmp_chunk_size": 2},
            "seed": 7,
        }
    )
    words = dict(word.split("=", 1) for word in gap_fit_words(hyperparameters, [14], {"Si": -102.5}))
    assert words["e0"] == "{Si:-102.5}"
    assert words["energy_parameter_name"] == "REF_energy"
    assert words["force_parameter_name"] == "REF_forces"
    assert words["virial_parameter_name"] == "REF_virial"
    assert words["rnd_seed"] == "7"
    assert words["verbosity"] == "{VERBOSE}"
    assert words["openmp_chunk_size"] == "2"
    assert "config_type_n_sparse={{atom:1:bulk:3}}" in words["gap"]
    assert " n_sparse=" not in words["gap"]
    assert "diagonal_radial=T radial_basis={{POLY}}" in words["gap"]
    assert not any("/" in word for word in words.values())


def test_average_zero_of_energy() -> None:
    hyperparameters = GapHyperparameters.model_validate({"e0_method": "average"})
    words = gap_fit_words(hyperparameters, [14], {})
    assert "e0_method=average" in words
    assert not any(word.startswith("e0=") for word in words)


def test_nothing_left_is_an_error() -> None:
    hyperparameters = GapHyperparameters()
    only = descriptor_strings(hyperparameters, [14])[0].replace("{{", "{").replace("}}", "}")
    with pytest.raises(FitError) as caught:
        gap_fit_words(hyperparameters, [14], {"Si": 0.0}, without=[only])
    assert caught.value.reason == "no_environments"


def test_a_value_gap_fit_would_cut_is_an_error() -> None:
    types = ":".join(f"{'long_' * 20}{i}:0.001:0.05:0.05:0.0" for i in range(10))
    hyperparameters = GapHyperparameters.model_validate({"options": {"config_type_sigma": types}})
    with pytest.raises(FitError, match="config_type_kernel_regularisation") as caught:
        gap_fit_words(hyperparameters, [14], {"Si": 0.0})
    assert caught.value.reason == "value_too_long"


def test_many_elements_leave_the_combinations_to_gap_fit() -> None:
    hyperparameters = GapHyperparameters.model_validate({"two_body": {}, "three_body": {}})
    energies = {"Li": 0.0, "C": 0.0, "N": 0.0, "O": 0.0, "Si": 0.0, "Cl": 0.0}
    words = dict(word.split("=", 1) for word in gap_fit_words(hyperparameters, [3, 6, 7, 8, 14, 17], energies))
    descriptors = words["gap"].strip("{}").split(" : ")
    assert [text.split()[0] for text in descriptors] == ["distance_2b", "angle_3b"] + ["soap"] * 6
    assert "add_species=T" in descriptors[0]
    assert "Z_center" not in descriptors[1]
    assert "add_species=F" in descriptors[2]
