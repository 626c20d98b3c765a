"""The snippets of the documentation in Python and in SQL run as they stand.

The blocks of a page make one script, in their order. A block that cannot run here has a line
``<!-- not run: reason -->`` right before it; one that shows what the script prints has ``<!-- printed -->``.
"""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.docs.consoles import LIMIT_S, NOT_RUN, ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PRINTED = re.compile(r"<!--\s*printed\s*-->")
PLACE = re.compile(r"\S*?(?P<file>\w+\.py):\d+")


def script_of(page: str) -> str:
    """The page's snippets, each on its lines of the page, so that tracebacks point there."""
    lines = [""] * page.count("\n")
    reason: str | None = None
    for token in MarkdownIt().parse(page):
        if token.type == "html_block" and (comment := NOT_RUN.search(token.content)):
            reason = comment["reason"]
            assert reason, f"line {token.map}: a snippet is not run for no reason"
            continue
        language = token.info.split()[:1]
        if token.type == "fence" and language in (["python"], ["sql"]) and reason is None:
            assert token.map
            first, last = token.map[0] + 1, token.map[1] - 1
            lines[first:last] = token.content.splitlines()
            if language == ["sql"]:
                lines[first - 1] = 'import duckdb; assert duckdb.execute("""'
                lines[last] = '""").fetchall()'
        reason = None
    return "\n".join(lines).rstrip() + "\n"


def printed_on(page: str) -> list[str]:
    """The blocks of the page that show what is printed; folders and lines of scripts are left open."""
    tokens = MarkdownIt().parse(page)
    return [
        PLACE.sub(r"\g<file>:N", block.content)
        for mark, block in pairwise(tokens)
        if mark.type == "html_block" and PRINTED.search(mark.content)
    ]


PAGES_WITH_SNIPPETS = [
    page
    for page in PAGES
    if page.stem != "README" and script_of(page.read_text("utf-8")).strip()  # that says how it is run itself
]


@pytest.mark.timeout(LIMIT_S + 30)
@pytest.mark.parametrize("page", PAGES_WITH_SNIPPETS, ids=lambda page: str(page.relative_to(ROOT)))
def test_snippets_run(page: Path, project: Path) -> None:
    script = project / f"{page.stem}.py"
    script.write_text(script_of(page.read_text("utf-8")), "utf-8")
    done = subprocess.run(
        [sys.executable, script.name],
        cwd=project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, f"{page.relative_to(ROOT)}:\n{done.stdout}\n{done.stderr}"
    printed = PLACE.sub(r"\g<file>:N", done.stdout)
    assert [block for block in printed_on(page.read_text("utf-8")) if block not in printed] == [], printed


def test_a_script_keeps_the_lines_of_its_page() -> None:
    page = (
        "# Title\n\n```python\na = 1\n```\n\n```console\n$ ls\n```\n\n"
        "<!-- not run: needs a cluster -->\n\n```python\nb\n```\n\n```python\nc = a\n```\n"
    )
    assert script_of(page).splitlines() == [*[""] * 3, "a = 1", *[""] * 13, "c = a"]


def test_a_query_has_to_find_something() -> None:
    script = script_of("Ask:\n\n```sql\nselect 1\nwhere {};\n```\n")
    exec(script.format("true"), {})
    with pytest.raises(AssertionError):
        exec(script.format("false"), {})


def test_a_snippet_is_not_skipped_without_a_reason() -> None:
    with pytest.raises(AssertionError, match="no reason"):
        script_of("<!-- not run -->\n\n```python\na\n```\n")


def test_what_is_printed_may_be_shown() -> None:
    page = "<!-- printed -->\n\n```text\n- /tmp/script.py:12: wrong\n```\n\n```text\nnot this\n```\n"
    assert printed_on(page) == ["- script.py:N: wrong\n"]
