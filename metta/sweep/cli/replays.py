"""What the command says of replays."""

from rich.text import Text

from metta.sweep.cli.output import Printer
from metta.sweep.client.leaderboards import Column, Columns
from metta.sweep.worker.replaying import Replayed

ROWS = 20


class ReplayOutput(Printer):
    """Prints whether histories replay."""

    def shown(self, replayed: Replayed) -> None:
        """Which of them would go another way, and what to do next."""
        if self._json:
            self._print(replayed.model_dump(mode="json"))
            return
        histories, problems = replayed.histories, replayed.problems
        events = sum(history.events for history in histories)
        self._say(f"{replayed.name}: {len(histories)} histories with {events} events")
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
