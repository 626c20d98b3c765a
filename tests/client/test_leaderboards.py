import io

import pytest
from rich.console import Console

from metta.sweep.client.leaderboards import leaderboard
from metta.sweep.contracts.decisions import Start
from tests.stores.stories import Story


def shown(story: Story, width: int | None = None, limit: int = 5) -> list[str]:
    """The lines of a leaderboard in a terminal of some width, or in a file."""
    file = io.StringIO()
    console = Console(file=file, width=width or 80, force_terminal=width is not None, color_system=None)
    console.print(leaderboard(story.table, limit), soft_wrap=width is None)
    return file.getvalue().splitlines()


def story_of(params: dict[str, object], count: int = 1, **metrics: float) -> Story:
    """A sweep with some completed trials of the same parameters, the first of them the best."""
    uniform = {"type": "uniform", "low": 0, "high": 1}
    story = Story(search_space=dict.fromkeys(params, uniform), metric="accuracy")
    for number in range(count):
        story.decide(Start.model_validate({"trial": number, "params": params, "seed": 0}))
        story.complete(number, **(metrics or {"accuracy": 0.987654321 - number}))
    return story


def test_rows_are_ranked_and_parameters_keep_their_order() -> None:
    story = Story(
        search_space={
            "model": {"type": "choice", "values": ["cnn", "mlp"]},
            "lr": {"type": "uniform", "low": 0, "high": 1},
            "cnn.depth": {"type": "choice", "values": [2, 3]},
        },
        metric="loss",
    )
    story.decide(Start(trial=0, params={"model": "cnn", "lr": 0.123456789, "cnn.depth": 3}, seed=0))
    story.complete(0, loss=0.5)
    story.decide(Start(trial=1, params={"model": "mlp", "lr": 0.5}, seed=0))
    story.report(1, step=7, loss=0.25)
    assert shown(story) == [
        "trial  loss  step  model  lr      cnn.depth  status",
        "    1  0.25     7  mlp    0.5     -          running",
        "    0   0.5     -  cnn    0.1235  3          completed",
    ]


def test_a_file_gets_every_column_in_full() -> None:
    names = [f"trainer.optimizer.parameter_{n}" for n in range(30)]
    lines = shown(story_of(dict.fromkeys(names, "a long value that goes on and on"), count=2))
    assert lines[0].split() == ["trial", "accuracy", *names]
    assert lines[1].count("a long value that goes on and on") == 30
    assert len(lines) == 3


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_terminal_gets_what_fits_and_the_names_of_the_rest(width: int) -> None:
    names = [f"trainer.optimizer.parameter_{n}" for n in range(30)]
    lines = shown(story_of(dict.fromkeys(names, "a long value that goes on and on"), count=2), width)
    assert len(lines) == 4
    assert all(len(line) <= width for line in lines)
    assert "…" in lines[0] + lines[3]
    assert lines[0].split()[:2] == ["trial", "accuracy"]
    assert lines[3].startswith("not shown: trainer.optimizer")


def test_long_names_keep_their_end_and_long_values_their_beginning() -> None:
    lines = shown(story_of({"trainer.optimizer.learning_rate": "x" * 30}), 80)
    assert lines == [
        "trial  accuracy  …mizer.learning_rate",
        "    0    0.9877  xxxxxxxxxxxxxxxxxxx…",
    ]


def test_values_cannot_break_a_line_or_paint_the_terminal() -> None:
    lines = shown(story_of({"a": "two\nlines", "b": "\x1b[31mred", "c": "[bold]no markup[/nope]"}))
    assert lines[1] == "    0    0.9877  'two\\nlines'  '\\x1b[31mred'  [bold]no markup[/nope]"


def test_wide_letters_keep_the_columns_straight() -> None:
    lines = shown(story_of({"モデル": "小さい", "x": 1}), 80)
    assert lines[0].index("x") == lines[1].index("1")  # behind three letters of two columns each


def test_only_so_many_rows() -> None:
    assert len(shown(story_of({"x": 1}, count=9), limit=3)) == 1 + 3
