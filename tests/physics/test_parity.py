from __future__ import annotations

import numpy as np
import pytest

from mlipdb.errors import DataError
from mlipdb.physics.frames import Frame
from mlipdb.physics.parity import Prediction, parity_errors


def frame(config_type: str, n: int, stress: bool) -> Frame:
    return Frame(
        configuration_id=f"{config_type}-{n}",
        numbers=np.full(n, 14),
        cell=10.0 * np.eye(3),
        positions=np.arange(3.0 * n).reshape(n, 3),
        energy=-5.0 * n,
        forces=np.zeros((n, 3)),
        stress=np.zeros(6) if stress else None,
        config_type=config_type,
    )


def predict(f: Frame, energy_per_atom: float, force: float, stress: float | None) -> Prediction:
    return Prediction(
        energy=f.energy + energy_per_atom * f.n_atoms,
        forces=np.full((f.n_atoms, 3), force),
        stress=None if stress is None else np.array([stress, 0, 0, 0, 0, 0]),
    )


def test_errors_by_hand() -> None:
    frames = [frame("isolated_atom", 1, False), frame("rattled", 2, True), frame("bulk", 4, True)]
    predictions = [
        predict(frames[0], 9.0, 0.0, None),
        predict(frames[1], 0.003, 0.1, 0.001),
        predict(frames[2], -0.004, -0.2, None),
    ]
    errors = parity_errors(frames, predictions)
    overall = errors["overall"]
    assert overall["n_configurations"] == 2
    assert overall["n_atoms"] == 6
    assert overall["energy_rmse"] == pytest.approx(np.sqrt((0.003**2 + 0.004**2) / 2))
    assert overall["energy_mae"] == pytest.approx(0.0035)
    assert overall["force_rmse"] == pytest.approx(np.sqrt((6 * 0.01 + 12 * 0.04) / 18))
    assert overall["force_mae"] == pytest.approx((6 * 0.1 + 12 * 0.2) / 18)
    assert overall["n_virials"] == 1
    # One of six components is off by V * stress / N = 1000 * 0.001 / 2 eV/atom.
    assert overall["virial_rmse"] == pytest.approx(0.5 / np.sqrt(6))
    assert overall["virial_mae"] == pytest.approx(0.5 / 6)
    assert list(errors["by_config_type"]) == ["bulk", "isolated_atom", "rattled"]
    atom = errors["by_config_type"]["isolated_atom"]
    assert atom["energy_rmse"] == pytest.approx(9.0)
    assert atom["virial_rmse"] is None
    assert errors["by_config_type"]["bulk"]["n_virials"] == 0


def test_isolated_atoms_alone_have_no_overall_error() -> None:
    atom = frame("isolated_atom", 1, False)
    overall = parity_errors([atom], [predict(atom, 0.0, 0.0, None)])["overall"]
    assert overall["n_configurations"] == 0
    assert overall["energy_rmse"] is None
    assert overall["force_mae"] is None


def test_shear_counts_once_and_with_its_sign() -> None:
    f = frame("bulk", 1, True)
    shear = Prediction(energy=f.energy, forces=f.forces, stress=np.array([0, 0, 0, 0.001, 0, 0]))
    assert parity_errors([f], [shear])["overall"]["virial_mae"] == pytest.approx(1.0 / 6)


@pytest.mark.parametrize(
    "prediction",
    [
        Prediction(energy=np.nan, forces=np.zeros((2, 3))),
        Prediction(energy=0.0, forces=np.full((2, 3), np.inf)),
        Prediction(energy=0.0, forces=np.zeros((3, 3))),
        Prediction(energy=0.0, forces=np.zeros((2, 3)), stress=np.full(6, np.nan)),
    ],
)
def test_unusable_predictions_are_refused(prediction: Prediction) -> None:
    with pytest.raises(DataError, match="bulk-2"):
        parity_errors([frame("bulk", 2, True)], [prediction])


def test_every_frame_needs_a_prediction() -> None:
    with pytest.raises(DataError, match="0 predictions given for 1 frames"):
        parity_errors([frame("bulk", 2, True)], [])
