"""Links inside the repository lead somewhere. Links to the outside are not followed."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("[!.]*/**/*.md")])


def tokens_of(page: Path) -> Iterator[Token]:
    """The page's blocks, and what stands inside them."""
    for block in MarkdownIt().parse(page.read_text("utf-8")):
        yield block
        yield from block.children or ()


def links_of(page: Path) -> Iterator[str]:
    """Where the page's links and images lead."""
    for token in tokens_of(page):
        target = token.attrGet("href") or token.attrGet("src")
        if target is not None:
            yield str(target)


def anchors_of(page: Path) -> set[str]:
    """The names under which a page's headings can be linked to, as GitHub makes them."""
    anchors: set[str] = set()
    seen: Counter[str] = Counter()
    previous: Token | None = None
    for token in tokens_of(page):
        if token.type == "inline" and previous is not None and previous.type == "heading_open":
            words = (child for child in token.children or () if child.type in {"text", "code_inline"})
            title = "".join(child.content for child in words)
            slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
            anchors.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
        if token.type in {"html_block", "html_inline"}:
            anchors.update(re.findall(r"""\b(?:id|name)=["']([^"']+)""", token.content))
        previous = token
    return anchors


def problem_with(link: str, page: Path) -> str | None:
    """Why a link on a page leads nowhere, or None."""
    url = urlsplit(link)
    if url.scheme or url.netloc:
        return None
    target = (page.parent / unquote(url.path)).resolve() if url.path else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return f"{link}: no such file"
    if url.fragment and target.suffix == ".md" and unquote(url.fragment) not in anchors_of(target):
        return f"{link}: no such heading"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert [problem for link in links_of(page) if (problem := problem_with(link, page))] == []


def test_what_leads_nowhere_is_told(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `two`, three!\n\n## Same\n\n## Same\n\n<a id='own'></a>\n", "utf-8")
    assert anchors_of(page) == {"one-two-three", "same", "same-1", "own"}
    assert problem_with("https://example.com/nothing#there", page) is None
    assert problem_with("gone.md", ROOT / "README.md") == "gone.md: no such file"
    assert problem_with("#gone", ROOT / "README.md") == "#gone: no such heading"
