"""The experiment: a class with typed fields, and a pipeline made of them."""

from inspect import get_annotations
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Never,
    dataclass_transform,
)

from pydantic import Field, JsonValue, ValidationError
from pydantic_core import PydanticSerializationError

from metta.sweep.contracts.budgets import Budget
from metta.sweep.contracts.errors import DefinitionError, PipelineDefinitionError, shown
from metta.sweep.contracts.models import problems_of, unknown_name
from metta.sweep.contracts.shelves import Folder
from metta.sweep.contracts.values import Value
from metta.sweep.experiments.fields import DurableFields, assigned, formless, lost, model_of, plain, read
from metta.sweep.experiments.ready.mixin import ReadyStages
from metta.sweep.experiments.ready.stages import gathering
from metta.sweep.pipeline.builder import LOCAL_FOLDER, Pipeline, with_late_methods

if TYPE_CHECKING:
    from metta.sweep.client.experiment_handle import ExperimentHandle
    from metta.sweep.pipeline.nodes import Block


@dataclass_transform(kw_only_default=True, field_specifiers=(Field,))
class Experiment(ReadyStages):
    """A pipeline with settings; subclass it, declare fields by annotation, and define ``pipeline``.

    ::

        class Refine(Experiment):
            objective = train  # without an annotation: no field
            threshold: float = 0.9

            def pipeline(self) -> Pipeline[Score]:
                return Pipeline().stage("train", train).stage("score", self.score).through(Score)

        score = Refine(threshold=0.8).run(name="refine")

    Fields are given by name and validated by pydantic. They are part of what is recorded, so each of them
    has to have a form in JSON, from which it can be made again. Names with a leading underscore and
    ``ClassVar`` are no fields.

    A stage that is a method may change them, by assignment or in place. What it has made of them is recorded
    with what it gives, and later stages find it there, on whatever worker they run; what an attempt that
    fails has changed is dropped. ``pipeline`` sees them as they were given.

    Raises:
        DefinitionError: At construction, with every mistake in the fields; at the definition of the class,
            when a field is called like something that every experiment has.
    """

    if not TYPE_CHECKING:  # the checkers are to see the fields as arguments, not this signature

        def __init__(self, *args: object, **fields: object) -> None:
            kind, values = type(self), {}
            model, problems = model_of(kind, Experiment), []
            if args:
                problems.append(f"give its fields by name, got {shown(args[0])}")
            if kind.pipeline is Experiment.pipeline:
                problems.append("it does not define pipeline; write `def pipeline(self) -> Pipeline`")
            known = [*model.model_fields]
            problems += [problem for name in fields if (problem := unknown_name(name, known))]
            given: dict[str, Any] = {}
            try:
                given = read(model, {name: value for name, value in fields.items() if name in known})
                # its own copies: what is a default belongs to the class, what was given to somebody else
                values = read(model, plain(model, given))
                problems += lost(given, values)
            except ValidationError as error:
                problems += problems_of(error, model)
            except PydanticSerializationError:
                problems += formless(model, given)
            if problems:
                raise DefinitionError(problems, kind.__name__)
            self.__dict__.update(values)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = (name for name in get_annotations(cls) if not name.startswith("_"))
        problems = [
            f"the field {name} is called like {Experiment.__name__}.{name}; call it otherwise"
            for name in own
            if hasattr(Experiment, name)
        ]
        if problems:
            raise DefinitionError(problems, cls.__name__)

    def pipeline(self) -> Pipeline[Any]:
        """The stages; depends on nothing but the fields as they were given."""
        raise NotImplementedError

    @property
    def fields(self) -> dict[str, JsonValue]:
        """The fields as plain JSON; the same arguments make the same experiment again."""
        kind: Any = type(self)
        return plain(model_of(kind, Experiment), self.__dict__)

    def run(
        self,
        input: Any = None,
        *,
        budget: Budget | int | None = None,
        name: str | None = None,
        resume: bool = False,
        debug: bool = False,
        queue: str | None = None,
    ) -> Any:
        """Run all stages, and show which have ended.

        Everything goes on without this process: Ctrl-C detaches, a second one stops the experiment.

        In a stage of another experiment it becomes a part of that: a workflow of its own, to which the stage
        is attached again when it is tried again. An async stage has to await it: ``await other.run()``.

        Args:
            input: What flows into the first stage.
            budget: What all sweeps within it may spend together; a number is a number of trials. Each gets
                its share when it begins, up to its own budget, and gives back what it has not spent.
            name: Name of the experiment; None generates one.
            resume: Continue the experiment of this name: attach to it, or go on with what is not done.
            debug: Run in this process; breakpoints and prints work, and nothing is recorded.
            queue: A shared queue, whose workers run it; None takes that of the settings, else, as with an
                empty one, a worker of its own is started.

        Returns:
            What the last stage gives.

        Raises:
            DefinitionError: When it cannot be run as it is defined, or the name is in use.
            StageFailed: When a stage failed for good.
            SweepFailed: When it was stopped or cancelled.
            ServerError: When there is no Temporal server and none can be started.
        """
        from metta.sweep.experiments.runs import run

        return run(self, input, budget=budget, name=name, resume=resume, debug=debug, queue=queue)

    def start(
        self,
        input: Any = None,
        *,
        budget: Budget | int | None = None,
        name: str | None = None,
        resume: bool = False,
        queue: str | None = None,
    ) -> "ExperimentHandle":
        """Start without waiting for the end; arguments and errors are those of ``run``."""
        from metta.sweep.experiments.runs import start

        return start(self, input, budget=budget, name=name, resume=resume, queue=queue)

    @classmethod
    def attach(cls, name: str) -> "ExperimentHandle":
        """The handle of an experiment of this class that was started before.

        ``Experiment.attach`` takes one of any class; what its stages made with ``serialize`` then comes
        as it is stored.

        Raises:
            SweepNotFound: When there is none of that name.
        """
        from metta.sweep.experiments.runs import attach

        is_known = cls.pipeline is not Experiment.pipeline
        return attach(name, (lambda fields: cls(**fields).checked().definition) if is_known else None)

    def run_local(self, input: Any = None) -> Any:
        """Run in this process, with no engine; see ``Pipeline.run_local``. Its fields stay as they are."""
        from metta.sweep.pipeline.local import run_local

        kind: Any = type(self)
        twin: Experiment = kind(**self.fields)
        shelf = Folder(Path(LOCAL_FOLDER))
        return run_local(twin.checked().definition, input, shelf, twin.__state__()).value

    def checked(self) -> Pipeline[Any]:
        """Its pipeline, after all checks.

        Raises:
            DefinitionError: With every mistake.
        """
        with gathering() as problems:  # in stages that are ready-made
            pipeline: object = self.pipeline()
        if not isinstance(pipeline, Pipeline):
            problems.append(f"pipeline() has to return a Pipeline, got {shown(pipeline)}")
            raise DefinitionError(problems, type(self).__name__)
        pipeline = with_late_methods(pipeline, self)
        try:
            pipeline.plan()
        except RecursionError:
            problem = "it holds itself as a stage, again and again; let a field say where that ends"
            raise DefinitionError([problem], type(self).__name__) from None
        except PipelineDefinitionError as error:
            raise PipelineDefinitionError([*problems, *error.problems]) from None
        if problems:
            raise DefinitionError(problems, type(self).__name__)
        return pipeline

    @property
    def child_workflow(self) -> Literal["Experiment"]:
        """Type of the workflow that runs it when it is a stage."""
        return "Experiment"

    @property
    def child_block(self) -> "Block":
        """Its pipeline, checked."""
        return self.checked().definition.block

    def child_input(self, given: Value) -> dict[str, JsonValue]:
        """Input of the workflow that runs it when it is a stage.

        Args:
            given: What flows into that stage.
        """
        from metta.sweep.experiments.runs import child_input

        return child_input(self, given)

    def child_summary(self) -> str:
        """One line on it for people."""
        return repr(self)

    def run_here(self, given: Any) -> Any:
        """What it gives as a stage of a local run.

        Args:
            given: What flows into that stage.
        """
        return self.run_local(given)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({fields})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(type(self))  # some fields have no hash of their own

    def __state__(self) -> DurableFields | None:
        """Its fields, while its stages run; None when it has none, and nothing has to flow."""
        kind: Any = type(self)
        model = model_of(kind, Experiment)
        return DurableFields(self.__dict__, model, id(self)) if model.model_fields else None

    if not TYPE_CHECKING:  # else assignments to what is not declared would seem to be allowed

        def __setattr__(self, name: str, value: object) -> None:
            self.__dict__[name] = assigned(self, model_of(type(self), Experiment), name, value)

        def __delattr__(self, name: str) -> Never:
            raise AttributeError(f"{type(self).__name__}.{name} cannot be deleted: it is a field")


def field_names(kind: Any) -> dict[str, bool]:
    """Names of the fields of a class of experiments, and whether each has to be given.

    Raises:
        DefinitionError: When a field has no type that can be validated.
    """
    return {name: field.is_required() for name, field in model_of(kind, Experiment).model_fields.items()}
