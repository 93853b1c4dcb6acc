"""The pause of garbage collection, and how it ends."""

import gc
from collections.abc import Iterator

import pytest

from tinyedge.host import gc_pause


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_nothing_is_collected_meanwhile_and_what_was_made_is_left_alone_later() -> None:
    before = gc.get_freeze_count()
    with gc_pause.pause_gc():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
        assert gc.get_freeze_count() == before
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(made)


def test_a_failure_ends_the_pause() -> None:
    with pytest.raises(ImportError), gc_pause.pause_gc():
        raise ImportError
    assert gc.isenabled()
