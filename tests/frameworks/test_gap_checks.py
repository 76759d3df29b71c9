"""gap_fit failing in every way it has, each ending as one error that says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipdb.errors import FitError, FitTimeoutError
from mlipdb.frameworks.base import FitInput
from mlipdb.frameworks.gap import GAP, find_gap_fit
from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters


def fit_with(
    script: str,
    small_input: FitInput,
    hyperparameters: GapHyperparameters,
    tmp_path: Path,
    timeout_s: float = 60.0,
) -> FitError:
    """Fit with a shell script that stands between mlipdb and the real gap_fit; give the error."""
    program = tmp_path / "stand_in"
    program.write_text(f"#!/bin/sh\nGAP_FIT={find_gap_fit()}\n{script}\n")
    program.chmod(0o755)
    directory = tmp_path / "fit"
    directory.mkdir()
    with pytest.raises(FitError) as caught:
        GAP(executable=program).fit(small_input, hyperparameters, directory, timeout_s=timeout_s)
    left = {path.name for path in directory.iterdir()}
    assert not any(name.endswith(".idx") or name.startswith("tmp_GAP") for name in left)
    return caught.value


@pytest.mark.parametrize(
    ("script", "reason", "log"),
    [
        ("echo working; kill -9 $$", "killed", "working"),
        ("echo working; kill -SEGV $$", "killed", "working"),
        ("echo 'SYSTEM ABORT: too bad'; exit 1", "crashed", "too bad"),
        ("echo 'Error allocating 99 bytes: Cannot allocate memory'; exit 1", "out_of_memory", "allocate"),
        ("exit 0", "targets_mismatch", ""),
        # A full disk: no file may grow beyond 2 kB.
        ('ulimit -f 4; exec "$GAP_FIT" "$@"', "disk_full", "Number of per-atom setting"),
        # gap_fit is content with fewer frames when the file is cut short.
        ('head -n -19 train.xyz > t && mv t train.xyz; exec "$GAP_FIT" "$@"', "targets_mismatch", "Bye-Bye"),
        # ... and with no virials when they are not nine numbers.
        (
            'sed -i \'s/REF_virial/REF_Virial_/\' train.xyz; exec "$GAP_FIT" "$@"',
            "targets_mismatch",
            "Bye-Bye",
        ),
        ('"$GAP_FIT" "$@"; rm gap.xml', "missing_file", "Bye-Bye"),
        ('"$GAP_FIT" "$@"; : > gap.xml', "bad_xml", "Bye-Bye"),
        ('"$GAP_FIT" "$@"; head -c 9000 gap.xml > t; mv t gap.xml', "bad_xml", "Bye-Bye"),
        ('"$GAP_FIT" "$@"; for f in gap.xml.sparseX*; do echo 1 >> $f; done', "bad_side_file", "Bye-Bye"),
        ('"$GAP_FIT" "$@"; sed -i \'s/alpha="[^"]*"/alpha="NaN"/\' gap.xml', "not_finite", "Bye-Bye"),
        ('"$GAP_FIT" "$@"; sed -i \'s/<descriptor>soap/<descriptor>soup/\' gap.xml', "load_failed", ""),
    ],
)
def test_failures(
    script: str,
    reason: str,
    log: str,
    small_input: FitInput,
    small_hyperparameters: GapHyperparameters,
    tmp_path: Path,
) -> None:
    error = fit_with(script, small_input, small_hyperparameters, tmp_path)
    assert error.reason == reason, error.message
    assert error.log_tail is not None
    assert log in error.log_tail


def test_timeout(small_input: FitInput, small_hyperparameters: GapHyperparameters, tmp_path: Path) -> None:
    error = fit_with("echo begun; sleep 300", small_input, small_hyperparameters, tmp_path, timeout_s=0.5)
    assert isinstance(error, FitTimeoutError)
    assert error.log_tail == "begun"
    assert "0.5 s" in error.message
