"""Reference pages say what the code says."""

import pytest

from tests.docs.references import PAGES, ROOT


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    page = (ROOT / "docs/reference" / name).read_text("utf-8")
    assert PAGES[name]() == page, "run `python -m tests.docs.references`"
