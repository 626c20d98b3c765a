"""What is too large for the server is refused before it is sent."""

import re
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, ExternalStorage
from temporalio.service import RPCError

from metta.sweep import Choice, Uniform
from metta.sweep.client.settings import Settings
from metta.sweep.client.sizes import check_size, sent_bytes
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.experiments import ExperimentInput
from metta.sweep.contracts.sizes import Part, parts_of
from metta.sweep.contracts.sweeps import SweepInput
from metta.sweep.experiments import SweepExperiment
from tests.client.payloads import Encryption, Folder
from tests.rig import definition

LIMIT = 2 * 1024**2


def sweep_of(size: int) -> SweepInput:
    """A sweep that takes about so many bytes."""
    words = ["a" * (size // 2), "b" * (size // 2)]
    space = {"x": {"type": "uniform", "low": 0, "high": 1}, "word": {"type": "choice", "values": words}}
    return SweepInput.model_validate(definition(search_space=space, client="test"))


def experiment_of(**fields: object) -> ExperimentInput:
    return ExperimentInput.model_validate({"experiment": "a:b", "fields": fields, "client": "test"})


async def client_of(server: Settings) -> Client:
    return await Client.connect(
        str(server.connect["target_host"]),
        namespace=str(server.connect["namespace"]),
        data_converter=pydantic_data_converter,
    )


async def test_what_the_server_would_refuse_is_refused_and_nothing_else(server: Settings) -> None:
    client, rest = await client_of(server), await sent_bytes(pydantic_data_converter, sweep_of(2))
    for more, is_refused in [(0, False), (64, True)]:
        input = sweep_of(LIMIT - rest - 64 + more * 2)
        name = f"sweep-{uuid4()}"
        if is_refused:
            with pytest.raises(DefinitionError):
                await check_size(client, name, input, "the sweep")
            with pytest.raises(RPCError, match="Blob data size exceeds limit"):
                await client.start_workflow("Sweep", input, id=name, task_queue=name)
        else:
            await check_size(client, name, input, "the sweep")
            await (await client.start_workflow("Sweep", input, id=name, task_queue=name)).terminate()


async def test_the_error_says_what_takes_most_and_what_to_do(server: Settings) -> None:
    points = [{"x": n / 10_000} for n in range(10_000)]
    input = sweep_of(3 * 1024**2).model_copy(update={"initial_points": tuple(points * 3)})
    with pytest.raises(DefinitionError) as error:
        await check_size(await client_of(server), "large", input, "the sweep large")
    assert error.value.subject == "the sweep large"
    sent, space, initial = error.value.problems
    assert re.fullmatch(
        r"3,\d{3},\d{3} bytes would be sent, and the Temporal server takes 2,097,152 at most", sent
    )
    assert space.startswith("search_space.word.values takes 3.0 MiB: let choices be numbers or short names")
    assert initial.startswith("initial_points takes ")


async def test_an_experiment_is_told_of_its_fields(server: Settings) -> None:
    input = experiment_of(small=1, table={"rows": "x" * LIMIT})
    with pytest.raises(DefinitionError, match=r"fields\.table\.rows takes 2\.0 MiB: put what is large into"):
        await check_size(await client_of(server), "large", input, "the experiment large")


async def test_a_sweep_that_is_too_large_is_refused_where_it_is_defined(project: Path) -> None:
    words = Choice(["a" * LIMIT, "b"])
    sweep = SweepExperiment(lambda params: params["x"], {"x": Uniform(0, 1), "word": words}, goal="minimize")
    with pytest.raises(DefinitionError, match=r"search_space\.word\.values takes 2\.0 MiB"):
        sweep.run(2, name="large")


@pytest.mark.parametrize("codec", [None, Encryption()])
async def test_what_goes_into_external_storage_is_not_too_large(
    server: Settings, tmp_path: Path, codec: Encryption | None
) -> None:
    plain = pydantic_data_converter
    folder = Folder(tmp_path / "kept")
    kept = DataConverter(
        plain.payload_converter_class,
        payload_codec=codec,
        external_storage=ExternalStorage(drivers=[folder], payload_size_threshold=1000),
    )
    assert await sent_bytes(plain, sweep_of(LIMIT)) > LIMIT
    assert await sent_bytes(kept, sweep_of(LIMIT)) < 1000
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_parts_are_named_as_far_inside_as_they_are_most_of_it() -> None:
    assert parts_of(experiment_of(a={"b": "x" * 998, "c": 1})) == [Part("fields.a.b", 1000)]
    assert parts_of(experiment_of(a="x" * 998, b="y" * 998)) == [Part("fields", 2011)]
