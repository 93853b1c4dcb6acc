"""The pause of garbage collection, and how it ends."""

import gc
from collections.abc import Iterator

import pytest

from tinyedge.host import gc_pause


@pytest.fixture(autouse=True)
def unfreeze_afterwards() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_objects_created_during_the_pause_are_excluded_from_later_collections() -> None:
    before = gc.get_freeze_count()
    with gc_pause.pause_gc():
        assert not gc.isenabled()
        created: list[list[int]] = [[] for _ in range(1000)]
        assert gc.get_freeze_count() == before
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(created)


def test_a_failure_ends_the_pause() -> None:
    with pytest.raises(ImportError), gc_pause.pause_gc():
        raise ImportError
    assert gc.isenabled()
