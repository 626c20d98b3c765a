from typing import Any, NamedTuple

from metta.sweep.experiments.base import Pipeline


class Data(NamedTuple):
    rows: int


def load(path: str) -> Data:
    return Data(len(path))


def enough(rows: int) -> bool:
    return rows > 3


def halved(rows: int) -> Data:
    return Data(rows // 2)


# Any, for checkers do not see that a single parameter is a field of a class contract
PLAIN: Any = Pipeline
PIPELINE: Pipeline[Any] = (
    PLAIN()
    .stage("load", load)
    .through(Data, retry=3, log=print)
    .loop_while(enough, max_iterations=9)
    .stage("halve", halved)
    .through(Data)
    .end_loop()
    .parallel({"one": halved, "two": Pipeline().stage("three", halved)})
    .conditional(enough, Pipeline().through(rows=int))
    .stage("end", Pipeline().stage("last", lambda rows: rows))
)


def test_a_description_has_a_line_for_each_step() -> None:
    assert (
        PIPELINE.describe()
        == """\
load -> Data [retry, log]
while enough, at most 9 times
  halve -> Data
in parallel
  one:
    one -> Data
  two:
    three -> Data
if enough
  then:
    contract -> (rows: int, one: Data, two: Data)
end
  last"""
    )


def test_a_flowchart_shows_what_flows() -> None:
    pipeline = PIPELINE.stage("<&>", load)
    assert Pipeline().to_mermaid() == 'flowchart TD\n    n1(["input"])\n    n2(["output"])\n    n1 --> n2\n'
    chart = PIPELINE.to_mermaid().splitlines()
    assert chart[:7] == [
        "flowchart TD",
        '    n1(["input"])',
        '    n2["load"]',
        "    n1 --> n2",
        '    n3{"while enough"}',
        '    n2 -->|"Data"| n3',
        '    n4["halve"]',
    ]
    assert '    n4 -->|"again"| n3' in chart
    assert pipeline
