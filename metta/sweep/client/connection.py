"""Connections to Temporal: to the project's embedded server, or to the one that the configuration names."""

import asyncio
from datetime import timedelta
from functools import cache
from time import monotonic
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode

from metta.sweep.client.server import NAMESPACE, EmbeddedServer
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.errors import ServerError
from metta.sweep.contracts.sweeps import SEARCH_ATTRIBUTES
from metta.sweep.telemetry.tracing import interceptors

RETENTION = timedelta(days=365)
"""A sweep of last summer is still to be found in the UI."""

READY_S = 20.0
"""An embedded server can do everything by then."""

CONNECT_S = 10.0
"""A server that does not answer by then is of no use."""

POLL_S = 0.02
KINDS = {
    "Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "Double": IndexedValueType.INDEXED_VALUE_TYPE_DOUBLE,
    "Int": IndexedValueType.INDEXED_VALUE_TYPE_INT,
}


async def connect(settings: Settings, **options: Any) -> Client:
    """Connect to the server of the settings; the embedded one is started if need be.

    Args:
        settings: Which server.
        **options: More arguments for ``Client.connect``, such as plugins.

    Raises:
        DefinitionError: When traces are wanted that there cannot be.
        ServerError: When it cannot be reached, or does not know the namespace.
    """
    traced = {} if "plugins" in options else {"interceptors": interceptors()}  # ours brings its own
    if "runtime" not in options:
        options["runtime"] = _quiet()
    options = {"data_converter": pydantic_data_converter, **traced, **options}
    if settings.is_embedded:
        return await _when_ready(EmbeddedServer(settings.home / "server"), options)
    try:
        async with asyncio.timeout(CONNECT_S):
            client = await Client.connect(**{**settings.connect, **options})
            request = DescribeNamespaceRequest(namespace=client.namespace)
            await client.workflow_service.describe_namespace(request)
            return client
    except (RuntimeError, RPCError, TimeoutError) as error:
        raise ServerError(
            f"the Temporal server at {settings.connect['target_host']} cannot be used: {_why(error)}."
            " Check TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and temporal.toml"
        ) from error


@cache
def _quiet() -> Runtime:
    """The engine without lines of its own: they would go to stdout, and what they tell is raised as well."""
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig("off")))


async def _when_ready(server: EmbeddedServer, options: dict[str, Any]) -> Client:
    """The embedded server opens its port before it can do everything."""
    deadline = monotonic() + READY_S
    while True:
        info = await asyncio.to_thread(server.ensure)
        try:
            async with asyncio.timeout(CONNECT_S):
                client = await Client.connect(info.address, namespace=NAMESPACE, **options)
                await _keep_for_a_year(client)
                return client
        except (RuntimeError, RPCError, TimeoutError) as error:
            if monotonic() > deadline:
                raise ServerError(
                    f"the embedded Temporal server at {info.address} cannot be used: {_why(error)}."
                    " `sweep dev --stop` ends it, and the next command starts it again"
                ) from error
            await asyncio.sleep(POLL_S)


def _why(error: Exception) -> str:
    return str(error).rstrip(".") or f"it does not answer within {CONNECT_S:g} s"


async def _keep_for_a_year(client: Client) -> None:
    service = client.workflow_service
    wanted = Duration()
    wanted.FromTimedelta(RETENTION)
    found = await service.describe_namespace(DescribeNamespaceRequest(namespace=NAMESPACE))
    if found.config.workflow_execution_retention_ttl != wanted:
        config = NamespaceConfig(workflow_execution_retention_ttl=wanted)
        await service.update_namespace(UpdateNamespaceRequest(namespace=NAMESPACE, config=config))


async def ensure_search_attributes(client: Client) -> None:
    """Register the search attributes of sweeps where they are missing.

    Raises:
        ServerError: When that is not allowed; says how an administrator does it.
    """
    try:
        async with asyncio.timeout(CONNECT_S):
            await _register(client)
    except (RPCError, TimeoutError) as error:
        if isinstance(error, RPCError) and error.status is RPCStatusCode.ALREADY_EXISTS:
            return  # another worker was faster
        commands = " ".join(f"--name {name} --type {kind}" for name, kind in SEARCH_ATTRIBUTES.items())
        raise ServerError(
            f"the search attributes of sweeps cannot be registered: {_why(error)}. Let somebody who may"
            f" run `temporal operator search-attribute create --namespace {client.namespace} {commands}`"
        ) from error


async def _register(client: Client) -> None:
    service = client.operator_service
    found = await service.list_search_attributes(ListSearchAttributesRequest(namespace=client.namespace))
    missing = {name: kind for name, kind in SEARCH_ATTRIBUTES.items() if name not in found.custom_attributes}
    if missing:
        await service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=client.namespace,
                search_attributes={name: KINDS[kind] for name, kind in missing.items()},
            )
        )
