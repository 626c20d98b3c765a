"""The examination: all checks, each with its limit; none keeps others from being made."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from metta.sweep.client.health.attributes import attributes_found
from metta.sweep.client.health.findings import CHECKS, Check, Finding, are_healthy, not_checked
from metta.sweep.client.health.limits import CHECK_S, RECORDS_S, STORE_S, within
from metta.sweep.client.health.orphans import (
    damaged_launches,
    foreign_workflows,
    idle_launches,
    idle_workers,
    open_records,
    passed_over,
    unasked,
)
from metta.sweep.client.health.places import LaunchesHere
from metta.sweep.client.health.records import Reader, Record
from metta.sweep.client.health.running import Runs, runs_of
from metta.sweep.client.health.server import Answer, answer_of, command_of
from metta.sweep.client.health.settings import led
from metta.sweep.client.health.store import refused, store_found
from metta.sweep.client.health.stuck import stuck_found
from metta.sweep.client.health.workers import launches_found, queues_found
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.errors import SweepError

DENIED = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.UNIMPLEMENTED)
"""What a server answers that works, and does not tell everybody everything."""


async def examined(fix: bool = False) -> list[Finding]:
    """Make all checks of the project in which this program stands.

    Only what is safe is mended: missing search attributes are registered, workers of unfinished work that do
    not live are started, launches without work are closed, and workers without work are ended. Records,
    running workflows and other people's workers are left alone.

    Args:
        fix: Whether that is done.

    Returns:
        What was found, good and bad, in the order of ``CHECKS``.
    """
    examination = _Examination(fix)
    await examination.make()
    return sorted(examination.findings, key=lambda finding: CHECKS.index(finding.check))


class _Examination:
    def __init__(self, fix: bool) -> None:
        self.findings: list[Finding] = []
        self._fix = fix
        self._records: Sequence[Record] | None = None

    async def make(self) -> None:
        try:
            store, server, findings = led()
        except Exception as error:  # whatever it is, it is told
            self.findings += [not_checked(check, _text_of(error)) for check in CHECKS]
            return
        self.findings += findings
        if store:
            await self._store(store)
        else:
            self.findings.append(not_checked("store", "nobody can tell where it is"))
        if server:
            await self._server(server)
        else:
            self._unchecked("nobody can tell where the server is", *CHECKS[2:])

    async def _store(self, settings: Settings) -> None:
        try:
            found = await within(STORE_S, lambda: store_found(settings))
            self.findings += found
            if settings.address and not are_healthy(found):
                return  # to be refused once is enough
            reader = Reader(settings.store, RECORDS_S)
            await within(RECORDS_S + STORE_S, reader.read)
        except (TimeoutError, OSError) as error:
            silent = f"it does not answer within {STORE_S:g} s"
            place = settings.address or str(settings.home)
            told = TimeoutError(f"{place}: {silent}") if isinstance(error, TimeoutError) else error
            self.findings.append(refused(place, told))
        except SweepError:
            return  # told already
        except Exception as error:
            self.findings.append(not_checked("store", _text_of(error)))
        else:
            self._records = reader.records
            self.findings += reader.findings

    async def _server(self, settings: Settings) -> None:
        try:
            answer = await answer_of(settings)
        except Exception as error:
            answer = Answer(None, "", [not_checked("server", _text_of(error))])
        self.findings += answer.findings
        launches = LaunchesHere(settings)
        await self._check("orphans", lambda: within(CHECK_S, lambda: damaged_launches(launches)))
        await self._check(
            "orphans", lambda: within(CHECK_S, lambda: passed_over(launches, self._records or ()))
        )
        if answer.client is None:
            await self._without_server(launches)
            return
        client, where = answer.client, command_of(settings, answer.address)
        await self._check("search attributes", lambda: attributes_found(client, where, self._fix))
        runs = Runs()

        async def look() -> list[Finding]:
            nonlocal runs
            runs = await runs_of(client, launches.unfinished())
            return await self._workers(client, settings, runs, launches)

        if not await self._check("workers", look):
            self._unchecked("nobody can tell what runs", "orphans", "stuck workflows")
            return
        await self._check("orphans", lambda: self._orphans(client, settings, runs, launches, where))
        await self._check("stuck workflows", lambda: stuck_found(client, runs, where))

    def _records_here(self, launches: LaunchesHere) -> list[Record]:
        """Records but for those whose work was launched elsewhere."""
        elsewhere = launches.elsewhere()
        return [record for record in self._records or () if record.name not in elsewhere]

    async def _workers(
        self, client: Client, settings: Settings, runs: Runs, launches: LaunchesHere
    ) -> list[Finding]:
        found = await within(CHECK_S, lambda: launches_found(launches, runs, self._fix))
        dead = {finding.subject for finding in found}
        return [*found, *await queues_found(client, settings, runs, launches, dead, self._fix)]

    async def _orphans(
        self, client: Client, settings: Settings, runs: Runs, launches: LaunchesHere, where: str
    ) -> list[Finding]:
        found = await within(CHECK_S, lambda: idle_launches(launches, runs, self._fix))
        if not runs.unseen:  # else it may work for what was not looked at
            found += await within(CHECK_S, lambda: idle_workers(launches, runs, self._fix))
        if self._records is not None:
            records = await within(CHECK_S, lambda: self._records_here(launches))
            found += await open_records(client, records, runs)
            found += foreign_workflows(settings, self._records, runs, where)
        fine = Finding(check="orphans", code="healthy", severity="note", text="nothing is left over")
        return found or [fine]

    async def _without_server(self, launches: LaunchesHere) -> None:
        """What can be told all the same."""
        if any(finding.code == "server-stopped" for finding in self.findings):

            def unended() -> list[Finding]:
                return unasked(self._records_here(launches))

            await self._check("orphans", lambda: within(CHECK_S, unended))
            return

        def dead() -> list[Finding]:
            return launches_found(launches, None, fix=False)

        await self._check("workers", lambda: within(CHECK_S, dead))
        self._unchecked("the server cannot be used", *CHECKS[3:])

    async def _check(self, check: Check, made: Callable[[], Awaitable[list[Finding]]]) -> bool:
        """Make a check; False when it could not be made."""
        try:
            async with asyncio.timeout(CHECK_S):
                self.findings += await made()
        except Exception as error:  # whatever it is, it is told, and the other checks are made
            is_denied = isinstance(error, RPCError) and error.status in DENIED
            self.findings.append(not_checked(check, _text_of(error), "warning" if is_denied else "problem"))
            return False
        return True

    def _unchecked(self, why: str, *checks: Check) -> None:
        self.findings += [not_checked(check, why, "warning") for check in checks]


def _text_of(error: Exception) -> str:
    """What an error says; one that nobody foresaw says of which kind it is, too."""
    if isinstance(error, TimeoutError):
        return str(error) or f"it does not end within {CHECK_S:g} s"
    is_foreseen = isinstance(error, RPCError | SweepError | OSError)
    return str(error) if is_foreseen and str(error) else f"{type(error).__name__}: {error}"
