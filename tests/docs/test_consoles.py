"""What the documentation shows to be typed does what it shows."""

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.docs.consoles import ROOT, Step, alike, blocks, check_shown, problem_with, steps, typed
from tests.docs.desks import PREPARED, Desk
from tests.docs.test_snippets import PAGES

MADE = "<!-- Made by "
"""Begins a page that is made of the code, and is checked against it."""

TEXTS = {page: page.read_text("utf-8") for page in PAGES}
TYPED = [
    page
    for page, text in TEXTS.items()
    if not text.startswith(MADE) and any(not (b.reason or b.is_walk) for b in blocks(text))
]

LANGUAGES = {
    "console": "is typed here",
    "python": "test_snippets.py runs it",
    "pycon": "is a docstring, which pytest runs",
    "sql": "test_snippets.py asks it",
    "sh": "test_jobs.py runs it",
    **dict.fromkeys(("", "text", "json", "toml", "yaml", "mermaid"), "is data"),
}
"""Languages of blocks, and what becomes of them."""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", TYPED, ids=name_of)
def test_what_is_typed_prints_what_is_shown(page: Path, project: Path) -> None:
    with Desk(project, TEXTS[page]) as desk:
        for block in blocks(TEXTS[page]):
            if not (block.reason or block.is_walk):
                desk.sit_down_to(block.steps)
                for step in block.steps:
                    desk.type(step)


def spans(tokens: list[Token]) -> list[str]:
    """What stands in code within text."""
    return [token.content for token in tokens if token.type == "code_inline"]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_that_a_page_names_is_there(page: Path) -> None:
    inline = [span for token in MarkdownIt().parse(TEXTS[page]) for span in spans(token.children or [])]
    shown = [] if TEXTS[page].startswith(MADE) else [s.command for b in blocks(TEXTS[page]) for s in b.steps]
    named = [command for command in (*inline, *shown) if re.match(r"sweep [a-z-]", command)]
    assert [problem for command in named if (problem := problem_with(command))] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_are_in_languages_that_are_run_or_are_data(page: Path) -> None:
    tokens = MarkdownIt().parse(TEXTS[page])
    assert {token.info.partition(" ")[0] for token in tokens if token.type == "fence"} <= LANGUAGES.keys()


def test_programs_of_shells_stand_where_they_are_run() -> None:
    assert [name_of(page) for page, text in TEXTS.items() if "```sh\n" in text] == ["docs/reference/jobs.md"]


def test_everything_that_is_prepared_is_typed_somewhere() -> None:
    first = [block.steps[0].command for text in TEXTS.values() for block in blocks(text) if block.steps]
    assert [begin for begin in PREPARED if not any(command.startswith(begin) for command in first)] == []


def test_targets_of_make_are_there() -> None:
    made = re.findall(r"\bmake ([a-z-]+)(?=[ `])", TEXTS[ROOT / "README.md"])
    made += re.findall(r"^\| `make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
    done = typed(f"make -n -C {ROOT} {' '.join(made)}")
    assert len(made) > 5
    assert done.returncode == 0, done.stdout


def test_a_command_may_go_on_in_the_next_line_and_what_is_printed_stands_behind_it() -> None:
    assert steps("$ one \\\n    two  # three\nfour\n$ five\n") == [
        Step("one \\\n    two  # three", ["four"]),
        Step("five", []),
    ]


def test_what_is_printed_without_a_command_is_no_console() -> None:
    with pytest.raises(AssertionError, match="nothing was typed"):
        steps("one\n")


def test_only_what_differs_each_time_may_differ() -> None:
    shown = "a  http://127.0.0.1:80/x  1.5 s\n└── b/c-0c2b4a31  3 of 4 in /home/me/.metta-sweep"
    other = "a  http://127.0.0.1:7233/y  20 ms\n└── b/c-fb22a1c7  12 of 40 in /tmp/1/.metta-sweep"
    [step] = steps(f"$ some\n{shown}")
    check_shown(step, other)
    for wrong in (other.replace("└── b", "└── d"), f"{other}\nmore", other.partition("\n")[0]):
        with pytest.raises(AssertionError, match="some"):
            check_shown(step, wrong)
    assert alike("compared/halve") == "compared/halve"


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("sweep ls", ""),
        ("sweep gc NAME ... --older-than=7d  # some", ""),
        ("sweep doctor [--fix]", ""),
        ("sweep --install-completion", ""),
        ("sweep list", "sweep list: there is no command list"),
        ("sweep ls --all", "sweep ls --all: there is no option --all"),
    ],
)
def test_what_is_wrong_with_a_command_is_found_without_running_it(command: str, problem: str) -> None:
    assert problem_with(command) == problem
