"""Spoiled inputs: no crash, no hang, no traceback, no memory for a header that lies, and other frames are done."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from fuzz import Fuzzer
from fuzz_inputs import KINDS

INPUTS = 1000  # `python tests/fuzz.py 20000` does more

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured and limited as on Linux")


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzer]:
    with Fuzzer(tmp_path_factory.mktemp("fuzz")) as fuzzer:
        yield fuzzer


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_wrong_with_inputs_is_told_in_words(kind: str, fuzzer: Fuzzer) -> None:
    share, cases = KINDS[kind]
    count = INPUTS * share // 100
    faults = [fault for case in cases(count) for fault in fuzzer.faults(case)]
    assert not faults, "\n".join(faults)
    assert fuzzer.figures[kind].inputs == count
