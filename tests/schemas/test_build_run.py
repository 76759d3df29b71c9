from __future__ import annotations

import pytest
from pydantic import ValidationError

from mlipdb.schemas.build_run import BuildLock, BuildRun
from mlipdb.schemas.common import utc_now


def test_counts_are_never_negative() -> None:
    for name in ("built", "unchanged", "failed", "withdrawn"):
        with pytest.raises(ValidationError):
            BuildRun.model_validate({"run_id": "r", "builder": "b", "started": utc_now(), name: -1})


def test_a_run_that_is_not_over_has_no_end() -> None:
    plain = BuildRun(run_id="r", builder="b", started=utc_now()).to_bson()
    assert "ended" not in plain
    assert "duration_s" not in plain


def test_a_lock_says_who_holds_it() -> None:
    with pytest.raises(ValidationError):
        BuildLock.model_validate({"builder": "b", "acquired": utc_now(), "expires": utc_now()})
