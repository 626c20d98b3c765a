"""Search attributes: whether those of sweeps are registered, and with the right types."""

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client

from metta.sweep.client.connection import KINDS, ensure_search_attributes
from metta.sweep.client.health.findings import FIX, Finding, healthy
from metta.sweep.client.health.limits import RPC
from metta.sweep.contracts.errors import ServerError
from metta.sweep.contracts.sweeps import SEARCH_ATTRIBUTES

COMMAND = "temporal operator search-attribute"


async def attributes_found(client: Client, where: str, fix: bool) -> list[Finding]:
    """What is wrong with the search attributes of sweeps.

    Args:
        client: Asks the server.
        where: Arguments with which the command ``temporal`` reaches it.
        fix: Whether missing ones are registered.

    Raises:
        RPCError: When the server does not answer.
    """
    request = ListSearchAttributesRequest(namespace=client.namespace)
    listed = await client.operator_service.list_search_attributes(request, timeout=RPC)
    known = listed.custom_attributes
    missing = [_missing(name, where) for name in SEARCH_ATTRIBUTES if name not in known]
    if missing and fix:
        missing = await _registered(client, missing)
    wrong = [
        _wrong(name, kind, known[name], where)
        for name, kind in SEARCH_ATTRIBUTES.items()
        if name in known and known[name] != KINDS[kind]
    ]
    fine = healthy("search attributes", f"registered with the right types: {', '.join(SEARCH_ATTRIBUTES)}")
    return [*missing, *wrong] or [fine]


async def _registered(client: Client, missing: list[Finding]) -> list[Finding]:
    try:
        await ensure_search_attributes(client)
    except ServerError as error:
        return [finding.model_copy(update={"cure": str(error)}) for finding in missing]
    return [finding.mended("registered it") for finding in missing]


def _missing(name: str, where: str) -> Finding:
    kind = SEARCH_ATTRIBUTES[name]
    by_hand = f"{COMMAND} create --name {name} --type {kind} {where}"
    return Finding(
        check="search attributes",
        code="attribute-missing",
        severity="problem",
        subject=name,
        text=f"the search attribute {name} is not registered, so no sweep can say how far it is",
        cure=f"register it; who may not, lets somebody run `{by_hand}`",
        command=FIX,
    )


def _wrong(name: str, kind: str, found: int, where: str) -> Finding:
    got = IndexedValueType.Name(found).removeprefix("INDEXED_VALUE_TYPE_").title()  # type: ignore[arg-type]
    remove = f"{COMMAND} remove --yes --name {name} {where}"
    create = f"{COMMAND} create --name {name} --type {kind} {where}"
    return Finding(
        check="search attributes",
        code="attribute-wrong",
        severity="problem",
        subject=name,
        text=f"the search attribute {name} is of type {got}, and has to be {kind}: sweeps fail that set it",
        cure="see that nobody else uses it, remove it, and register it anew",
        command=f"{remove} && {create}",
    )
