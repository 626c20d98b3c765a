"""What the guide to operating lists is what the doctor finds."""

import re
from pathlib import Path
from typing import get_args

from metta.sweep.client.health.findings import CHECKS, Code

PAGE = Path(__file__).parents[2] / "docs/guide/operating.md"


def test_the_guide_lists_everything_that_can_be_found_and_nothing_else() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert rows == ["healthy", "not-checked", *[code for code in get_args(Code) if code not in rows[:2]]]


def test_the_guide_has_a_heading_for_each_check() -> None:
    assert re.findall(r"^\| \*\*([a-z ]+)\*\* \|", PAGE.read_text("utf-8"), re.MULTILINE) == [*CHECKS]
