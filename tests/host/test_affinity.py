"""How many cores compute a token: the default and the check."""

import pytest

from tinyedge.core.errors import UsageError
from tinyedge.host import affinity


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affinity, "count_usable_cores", lambda: 2)


@pytest.mark.parametrize(("default", "expected"), [(1, 1), (2, 2), (4, 2)])
def test_the_default_needs_no_core_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, default: int, expected: int
) -> None:
    monkeypatch.setattr(affinity, "DEFAULT_THREADS", default)
    assert affinity.default_threads() == expected


@pytest.mark.parametrize("threads", [0, 3, True, 1.0])
def test_a_thread_needs_a_core(threads: int) -> None:
    with pytest.raises(UsageError, match=f"^threads {threads} is ") as failure:
        affinity.require_usable_threads(threads)
    assert failure.value.parameters == ("threads",)


def test_all_cores_may_be_used() -> None:
    affinity.require_usable_threads(1)
    affinity.require_usable_threads(2)
