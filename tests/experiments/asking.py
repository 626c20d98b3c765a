"""Experiments that hold optimizers and helpers in fields; the engine and local runs are to agree on them."""

from dataclasses import dataclass, field
from functools import partial
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, Field

from metta.sweep import Choice, Integer, RetryPolicy, Trial, Uniform
from metta.sweep.contracts.trials import Result
from metta.sweep.experiments import Experiment
from metta.sweep.experiments.base import Pipeline
from metta.sweep.optimizers import Optimizer, OptunaOptimizer, RandomOptimizer

SPACE = {"lr": Uniform(0, 1), "depth": Integer(1, 4)}
AT_ONCE = RetryPolicy(max_attempts=3, initial=0)


class Climbing(Optimizer):
    """A user's own: numbers no trial, and needs every call to be where it is."""

    def __init__(self, step: float = 0.25, trials: int = 100) -> None:
        self.step, self.left = step, trials
        self.at, self.best = 0.0, -1.0

    def suggest(self, n: int) -> list[Trial]:
        self.left -= n
        if self.left < 0:
            return []
        self.step *= 0.9
        return [Trial({"lr": self.at + self.step * self.rng(self.left).random(), "depth": 1})]

    def observe(self, trial: Trial, result: Result) -> None:
        if isinstance(result, float) and result > self.best:
            self.at, self.best = trial.params["lr"], result


def tuned(lr: float, depth: int) -> float:
    return 1 - (lr - 0.4) ** 2 - 0.01 * depth


class Tuning(Experiment):
    """Suggests, trains and observes in a loop; other fields flow along."""

    optimizer: Optimizer = RandomOptimizer(SPACE)
    turns: int = 8
    tried: list[tuple[float, int]] = Field(default_factory=list)

    def pipeline(self) -> Pipeline[Any]:
        return (
            Pipeline()
            .stage("begin", lambda: 5)
            .through(base=int)
            .loop_while(lambda ctx: ctx.iteration < self.turns)
            .stage("suggest", self.optimizer.suggest)
            .stage("train", self.train)
            .through(score=float)
            .stage("observe", self.optimizer.observe)
            .end_loop()
            .stage("tell", self.tell)
        )

    def train(self, base: int, lr: float, depth: int) -> float:
        assert base == 5
        self.tried.append((lr, depth))
        return tuned(lr, depth)

    def tell(self, ctx: Any) -> dict[str, Any]:
        told = [[o.trial.number, o.result] for o in self.optimizer.told_by_hand]
        return {"tried": self.tried, "fields": sorted(vars(ctx)), "told": told}


class ByHand(Experiment):
    """Asks and tells in methods, and puts another optimizer in the place of the first one."""

    optimizer: Optimizer = OptunaOptimizer(SPACE, n_startup_trials=2)
    others: dict[str, Optimizer] = Field(default_factory=dict)
    tried: list[float] = Field(default_factory=list)

    def pipeline(self) -> Pipeline[Any]:
        pipeline: Pipeline[Any] = Pipeline().stage("begin", self.begin)
        for turn in range(5):
            pipeline = pipeline.stage(f"turn {turn}", self.turn)
        pipeline = pipeline.stage("change", self.change)
        for turn in range(5, 8):
            pipeline = pipeline.stage(f"turn {turn}", self.turn)
        return pipeline.stage("tell", self.tell)

    def begin(self) -> None:
        self.others["own"] = Climbing(step=0.5)

    def turn(self) -> None:
        for optimizer in (self.optimizer, self.others["own"]):
            [trial] = optimizer.suggest(1)
            trial = Trial(trial.params, len(self.tried))
            self.tried.append(trial.params["lr"])
            score = tuned(**trial.params)
            optimizer.observe(trial, {"score": score} if optimizer is self.optimizer else score)

    def change(self) -> None:
        self.optimizer = RandomOptimizer(SPACE)

    def tell(self) -> list[float]:
        return self.tried


class Suggested(NamedTuple):
    lr: float
    depth: int


@dataclass
class Scored:
    name: str
    accuracy: float


def double(lr: float, depth: int) -> Suggested:
    return Suggested(lr * 2, depth)


def scored(lr: float) -> Scored:
    return Scored("x", lr)


class Contracted(Experiment):
    """Class contracts replace what flows, and branches run in between; the trial flows along."""

    optimizer: Optimizer = RandomOptimizer(SPACE, seed=4)

    def pipeline(self) -> Pipeline[Any]:
        return (
            Pipeline()
            .stage("suggest", self.optimizer.suggest)
            .through(Suggested)
            .stage("double", double)
            .through(Suggested)
            .parallel({"one": scored, "two": scored})
            .stage("take", lambda one: one)
            .through(Scored)
            .stage("observe", self.optimizer.observe)
            .stage("tell", self.tell)
        )

    def tell(self, value: Scored) -> list[Any]:
        [told] = self.optimizer.told_by_hand
        expected = RandomOptimizer(SPACE, seed=4).suggest(1)[0]
        assert (told.trial.params, told.trial.number) == (expected.params, 0)
        return [value.name, told.result == value.accuracy == 2 * told.trial.params["lr"]]


class Dependent(Experiment):
    """Some parameters are not always there, and are not taken from the trial before either."""

    optimizer: Optimizer = RandomOptimizer(
        {"model": Choice(["cnn", "mlp"]), "layers": Integer(1, 3, when={"model": "cnn"})}, seed=2
    )
    seen: list[tuple[str, int]] = Field(default_factory=list)

    def pipeline(self) -> Pipeline[Any]:
        return (
            Pipeline()
            .loop_while(lambda ctx: ctx.iteration < 8)
            .stage("suggest", self.optimizer.suggest)
            .stage("train", self.train)
            .through(loss=float)
            .stage("observe", self.optimizer.observe)
            .end_loop()
            .stage("tell", self.tell)
        )

    def train(self, model: str, layers: int = 0) -> float:
        self.seen.append((model, layers))
        return float(layers)

    def tell(self) -> bool:
        trials = [o.trial.params for o in self.optimizer.told_by_hand]
        assert self.seen == [(params["model"], params.get("layers", 0)) for params in trials]
        return {model for model, _ in self.seen} == {"cnn", "mlp"}


class Paired(Experiment):
    """Two optimizers, in branches beside each other; what all parameters make is one field."""

    one: Optimizer = RandomOptimizer({"x": Uniform(0, 1)})
    two: Optimizer = RandomOptimizer({"x": Uniform(0, 1)})

    def pipeline(self) -> Pipeline[Any]:
        def branch(name: str, optimizer: Optimizer) -> Pipeline[Any]:
            return (
                Pipeline()
                .stage("suggest", optimizer.suggest)
                .through(params=dict)
                .stage("train", lambda params: -params["x"])
                .through(loss=float)
                .stage("observe", optimizer.observe)
            )

        both = Pipeline().parallel({"a": branch("one", self.one), "b": branch("two", self.two)})
        return both.stage("tell", self.tell)

    def tell(self, a: Any, b: Any) -> bool:
        told = [optimizer.told_by_hand[0] for optimizer in (self.one, self.two)]
        assert [t.result for t in told] == [a.loss, b.loss]
        return bool(a.params != b.params)


class Joined(Experiment):
    """Branches suggest fields of their own, which are merged; one optimizer lies in a list."""

    several: tuple[Optimizer, ...] = (RandomOptimizer({"x": Uniform(0, 1)}, seed=1),)
    maybe: Optimizer | None = RandomOptimizer({"y": Uniform(0, 1)}, seed=2)
    none: Optimizer | None = None

    def pipeline(self) -> Pipeline[Any]:
        assert self.maybe is not None
        return (
            Pipeline()
            .stage("begin", lambda: 1)
            .through(n=int)
            .parallel(
                [
                    Pipeline().stage("one", self.several[0].suggest),
                    Pipeline().stage("two", self.maybe.suggest),
                ]
            )
            .stage("train", lambda x, y: x + y)
            .through(score=float)
            .stage("observe one", self.several[0].observe)
            .stage("observe two", self.maybe.observe)
            .stage("tell", self.tell)
        )

    def tell(self, n: int, x: float, y: float, score: float) -> list[Any]:
        assert self.maybe is not None
        told = [optimizer.told_by_hand[0] for optimizer in (self.several[0], self.maybe)]
        return [n, [t.trial.params for t in told] == [{"x": x}, {"y": y}], [t.result == score for t in told]]


class Labelled(Experiment):
    """The number that was declared last is the label of a branch."""

    optimizer: Optimizer = RandomOptimizer(SPACE)

    def pipeline(self) -> Pipeline[Any]:
        def loss(lr: float) -> float:
            return lr + 1

        def name(lr: float) -> str:
            return f"lr={lr}"

        branches = Pipeline().stage("suggest", self.optimizer.suggest).parallel({"loss": loss, "name": name})
        return branches.stage("observe", self.optimizer.observe).stage("tell", self.tell)

    def tell(self, lr: float, name: str) -> bool:
        [told] = self.optimizer.told_by_hand
        return told.result == lr + 1 and name == f"lr={lr}"


class Ending(Experiment):
    """Has too few trials for its loop."""

    optimizer: Optimizer = Climbing(trials=2)

    def pipeline(self) -> Pipeline[Any]:
        looped = Pipeline().loop_while(lambda ctx: ctx.iteration < 5).stage("suggest", self.optimizer.suggest)
        return looped.through(lr=float).end_loop()


class Mishap(Experiment):
    """Tells what is no number, or of no trial."""

    how: str = "skipped"
    optimizer: Optimizer = RandomOptimizer(SPACE)

    def pipeline(self) -> Pipeline[Any]:
        hooks: dict[str, Any] = {"skip_if": lambda flowing: True} if self.how == "skipped" else {}
        return (
            Pipeline()
            .stage("suggest", self.optimizer.suggest)
            .through(log=lambda flowing: "seen", **hooks)
            .stage("train", lambda: nan)
            .through(score=float)
            .stage("observe", self.optimizer.observe)
            .stage("tell", self.tell)
        )

    def tell(self) -> list[str]:
        return [str(getattr(told.result, "message", "")) for told in self.optimizer.told_by_hand]


@dataclass
class Tally:
    """Counts, and can be called."""

    total: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, n: int) -> int:
        self.total += n
        return self.total

    async def wait(self, n: int) -> int:
        return self.add(n)

    def is_low(self) -> bool:
        return self.total < 20

    def note(self, value: Any) -> str:
        return f"{self.total}"

    def unsteady(self, n: int) -> int:
        self.total += 100
        marks = Path("tallied")
        done = int(marks.read_text()) if marks.exists() else 0
        marks.write_text(str(done + 1))
        if done < 2:
            raise ValueError("not yet")
        return n

    def __call__(self, n: int) -> int:
        return self.add(1000 * n)


class Group(BaseModel):
    tally: Tally = Field(default_factory=Tally)
    by_name: dict[str, Tally] = Field(default_factory=dict)


class Helped(Experiment):
    """Stages, predicates and hooks are methods of what fields hold."""

    tally: Tally = Field(default_factory=Tally)
    group: Group = Field(default_factory=lambda: Group(by_name={"a": Tally()}))
    seen: list[int] = Field(default_factory=list)
    totals: list[str] = Field(default_factory=list)

    def pipeline(self) -> Pipeline[Any]:
        return (
            Pipeline()
            .stage("begin", lambda: 3)
            .through(n=int)
            .loop_while(self.tally.is_low)
            .stage("add", self.tally.add)
            .through(total=int, transform=self.keep)
            .stage("see", lambda total: total)
            .through(int)
            .stage("append", self.seen.append)
            .through(after=self.tally.note)
            .stage("again", lambda: 3)
            .through(n=int)
            .end_loop()
            .stage("wait", self.tally.wait)
            .through(n=int)
            .stage("inner", self.group.tally.add)
            .through(n=int)
            .stage("named", self.group.by_name["a"].add)
            .through(n=int)
            .stage("call", self.tally)
            .through(n=int)
            .stage("part", partial(self.tally.add, 1))
            .through(n=int)
            .stage("tell", self.tell)
        )

    def keep(self, data: Any) -> Any:
        self.totals.append(str(self.tally.total))
        return data

    def tell(self, n: int) -> list[Any]:
        return [
            n,
            self.tally.total,
            self.seen,
            self.totals,
            self.group.tally.total,
            self.group.by_name["a"].total,
        ]


class Replaced(Experiment):
    """A stage puts another object into the field, whose methods run from then on."""

    tally: Tally = Field(default_factory=Tally)

    def pipeline(self) -> Pipeline[Any]:
        first = Pipeline().stage("first", self.tally.add).through(n=int)
        return first.stage("replace", self.replace).through(n=int).stage("second", self.tally.add)

    def replace(self) -> int:
        self.tally = Tally(total=50)
        return 2


class Torn(Experiment):
    """Two branches that change one helper."""

    tally: Tally = Field(default_factory=Tally)
    other: Tally = Field(default_factory=Tally)
    same: bool = True

    def pipeline(self) -> Pipeline[Any]:
        second = self.tally if self.same else self.other
        both = Pipeline().through(n=int).parallel({"a": self.tally.add, "b": second.add})
        return both.stage("tell", lambda a, b: a + b)


class Stubborn(Experiment):
    """A helper that fails after it has changed."""

    tally: Tally = Field(default_factory=Tally)

    def pipeline(self) -> Pipeline[Any]:
        tried = Pipeline().through(n=int).stage("try", self.tally.unsteady).through(n=int, retry=AT_ONCE)
        return tried.stage("tell", lambda: self.tally.total)
