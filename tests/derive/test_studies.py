"""What a study tells while it works; its documents are tested with the builder of potentials."""

from __future__ import annotations

from typing import Any

from mlipdb.builders.potentials import PotentialsBuilder
from mlipdb.work_progress import Report, reports_to

STUDY = """
fits:
  gap:
    engine: grid
    hyperparameters: {soap: {l_max: 3, n_max: 4, cutoff: 4.0}, seed: 1}
    grid: {n_sparse: [10, 20], delta: [1.0], f: [0.1]}
"""


def test_a_study_tells_its_phases_in_order(bench: Any) -> None:
    bench.settle(bench.recipe + STUDY)
    settings = bench.directory / "mlipdb.yaml"
    settings.write_text(settings.read_text().replace("workers: 2", "workers: 1"))  # without pools it is quicker
    bench.add(bench.diamond)
    bench.build("materials", "configurations", "training_sets")
    builder = PotentialsBuilder(project=str(bench.directory))
    builder.attach(bench.database, bench.project)
    (item,) = builder.get_items()
    told: list[Report] = []
    with reports_to(lambda *report: told.append(report)):
        result = builder.process_item(item)
    assert len(result["built"]) == 2
    phases = list(dict.fromkeys(phase for phase, _, _ in told))
    expected = ["sparse points", "kernel rows", "solve", "train errors", "test errors", "spot check"]
    assert [phase for phase in phases if phase in expected] == expected
    of = {phase: [(done, total) for name, done, total in told if name == phase] for phase in phases}
    for steps in of.values():
        assert steps == sorted(steps)
        assert all(0 <= done <= total for done, total in steps)
    n_train, n_test = (of[f"{side} errors"][-1] for side in ("train", "test"))
    assert n_train[0] == n_train[1] == of["kernel rows"][-1][0]
    assert n_test[0] == n_test[1]
    assert n_train[1] + n_test[1] == len(bench.docs("training_sets")[0]["configuration_ids"])
    assert of["solve"] == [(1, 2), (2, 2)]
