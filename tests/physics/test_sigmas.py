from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlipdb.errors import RecipeError
from mlipdb.physics.sigmas import atomwise_force_sigmas


def test_norm_and_floor() -> None:
    sigmas = atomwise_force_sigmas([[3.0, 4.0, 0.0], [0.0, 0.0, 1e-4]], f=0.1, floor=0.01)
    np.testing.assert_allclose(sigmas, [0.5, 0.001])


@given(
    arrays(float, (5, 3), elements=st.floats(-50, 50)),
    st.floats(1e-4, 10),
    st.floats(1e-4, 1),
)
def test_bounds_and_rotation(forces: np.ndarray, f: float, floor: float) -> None:
    sigmas = atomwise_force_sigmas(forces, f, floor)
    assert sigmas.shape == (5,)
    assert np.all(sigmas >= f * floor)
    assert np.all(sigmas >= f * np.linalg.norm(forces, axis=1) * (1 - 1e-12))
    # The norm, not the components: turning the axes changes nothing.
    np.testing.assert_allclose(atomwise_force_sigmas(forces[:, [2, 0, 1]], f, floor), sigmas)


@pytest.mark.parametrize(("f", "floor"), [(0, 0.01), (-1, 0.01), (np.nan, 0.01), (0.1, 0), (0.1, np.inf)])
def test_sigmas_of_zero_are_refused(f: float, floor: float) -> None:
    with pytest.raises(RecipeError, match="above zero"):
        atomwise_force_sigmas(np.zeros((1, 3)), f, floor)


@pytest.mark.parametrize("forces", [np.zeros(3), np.zeros((2, 2)), [[np.nan, 0, 0]]])
def test_bad_forces_are_refused(forces: object) -> None:
    with pytest.raises(RecipeError, match="forces of shape"):
        atomwise_force_sigmas(forces, 0.1, 0.01)  # type: ignore[arg-type]
