"""The torture table keeps what a selection has left out, to the letter."""

from __future__ import annotations

import dataclasses

from tests.torture.table import Case, _remember, page

CASES = [
    Case("T1", "Files", "cut | in two", "conforms", "excluded, <b>truncated</b>: *ends* | early; exit 0"),
    Case("T1", "Files", "empty", "FAILED"),
    Case("T2", "Folders", "empty", "conforms", "named\nonce"),
    Case("T10", "Other", "needs more", "not run", "there is no accelerator here"),
]


def test_what_was_left_out_stays_as_it_was() -> None:
    before = page(CASES)
    assert before.index("## T2 ") < before.index("## T10 ") and "| T1 Files | 2 | 1 | 1 | 0 |" in before
    left_out = [dataclasses.replace(case, outcome="not run", told="") for case in CASES]
    _remember(left_out, before)
    assert page(left_out) == before


def test_what_was_run_counts_anew() -> None:
    mended = [dataclasses.replace(case, outcome="conforms", told="mended") if case.name == "empty" else case for case in CASES]
    _remember(mended, page(CASES))
    assert [case.told for case in mended if case.name == "empty"] == ["mended", "mended"]
