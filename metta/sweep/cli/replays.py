"""What the command says of replays."""

from pdb import post_mortem
from shlex import quote
from traceback import print_exception

from rich.text import Text

from metta.sweep.cli.output import Printer
from metta.sweep.cli.shapes import StageShown
from metta.sweep.client.leaderboards import Column, Columns
from metta.sweep.stages.again import Again
from metta.sweep.worker.replaying import Replayed

ROWS = 20


class ReplayOutput(Printer):
    """Prints whether histories replay."""

    def shown(self, replayed: Replayed) -> None:
        """Which of them would go another way, and what to do next."""
        if self._json:
            self._print(replayed)
            return
        if replayed.retraced:
            self._retraced(replayed)
            return
        histories, problems = replayed.histories, replayed.problems
        events = sum(history.events for history in histories)
        count = "1 history" if len(histories) == 1 else f"{len(histories)} histories"
        self._say(f"{replayed.name}: {count} with {events} events")
        if not problems:
            self._say("deterministic: this version decides all of them as they were decided")
            self._next(f"sweep show {replayed.name}")
            return
        self._say(
            Columns(
                [
                    Column("workflow", [history.workflow for history in problems[:ROWS]]),
                    Column("run", [history.run for history in problems[:ROWS]]),
                ]
            )
        )
        for history in problems[:ROWS]:
            self._say(Text(f"{history.workflow}: {history.problem}", style="red"))
        self._say(f"not deterministic: {len(problems)} of them would go another way with this version")
        self._next(f"temporal workflow show --workflow-id {problems[0].workflow} --run-id {problems[0].run}")

    def _retraced(self, replayed: Replayed) -> None:
        steps = sum(each.steps for each in replayed.retraced)
        self._say(f"{replayed.name}: Temporal has forgotten its histories; the store has {steps} steps of it")
        problems = [each for each in replayed.retraced if each.problem]
        for each in problems[:ROWS]:
            self._say(Text(f"{each.name}: {each.problem}", style="red"))
        if problems:
            self._say("not deterministic: the pipeline as it is now takes another path")
        else:
            self._say("deterministic: the pipeline as it is now takes the path that is recorded")
        self._next(f"sweep show {problems[0].name if problems else replayed.name}")

    def again(self, name: str, again: Again, was_debugged: bool) -> int:
        """What a stage gave this time, or how it failed.

        Args:
            name: Its experiment.
            again: What came of it.
            was_debugged: Whether its failure was looked at.

        Returns:
            The exit code.
        """
        if self._json:
            failure = again.failure and again.failure.failure
            self._print(
                StageShown(
                    stage=str(again.at), value=repr(again.value), fields=dict(again.fields), failure=failure
                )
            )
        elif again.failure is None:
            self._say(f"{again.at} gave {again.value!r}")
            for field, value in again.fields.items():
                self._say(f"  {field} = {value!r}")
            self._next(f"sweep show {name}")
        if again.failure is None:
            return 0
        if not was_debugged:
            print_exception(again.failure.__cause__ or again.failure)
        if not (was_debugged or self._json):
            self._next(f"sweep replay {name} --stage {quote(str(again.at))} --pdb")
        return 1

    @staticmethod
    def debug(error: BaseException) -> None:
        """Look at what a stage raised, where it was raised."""
        print_exception(error)
        post_mortem(error.__traceback__)
