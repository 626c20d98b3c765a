"""Objects: what is written is read, and every refusal says what to do."""

import io
import os
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, CredentialRetrievalError

from metta.sweep.client.ports import lasting_ports
from metta.sweep.contracts.errors import StoreError, StoreFull
from metta.sweep.stores.objects import Objects
from metta.sweep.stores.refusals import Place, refusals
from tests.stores.asked import Asked, answer, answers
from tests.stores.weed import BUCKET, Weed

PLACE = Place("s3://bucket/key", "bucket", "http://server")


# --- what is written is read ---


def test_an_object_is_written_read_and_deleted(objects: Objects) -> None:
    assert (objects.get("a"), objects.size("a")) == (None, None)
    objects.put("a", b"one")
    objects.put("a", b"two!")
    assert (objects.get("a"), objects.size("a")) == (b"two!", 4)
    objects.delete(["a", "never was"])
    assert objects.get("a") is None
    objects.delete([])


def test_of_two_that_make_an_object_the_first_wins(objects: Objects) -> None:
    assert objects.create("a", b"one")
    assert not objects.create("a", b"two")
    assert objects.get("a") == b"one"
    objects.delete(["a"])
    assert objects.create("a", b"two")


def test_objects_are_listed_in_the_order_of_their_names(objects: Objects) -> None:
    names = [f"a/{n:03}" for n in range(12)]
    for name in [*reversed(names), "b/c/d", "a0"]:
        objects.put(name, name.encode())
    assert [(found.key, found.size) for found in objects.listed("a/")] == [(name, 5) for name in names]
    assert [found.key for found in objects.listed("a/", after="a/007", limit=3)] == names[8:11]
    assert objects.listed("a/", after="a/011") == []
    assert objects.folders("") == objects.folders("/") == ["a", "b"]
    assert objects.folders("b") == ["c"]
    assert list(objects.get_all(names)) == [name.encode() for name in names]
    assert list(objects.get_all(["a/001", "nothing", "a/003"])) == [b"a/001", None, b"a/003"]


def test_long_listings_come_in_pages(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metta.sweep.stores.objects.PAGE", 5)
    for n in range(12):
        objects.put(f"a/{n:03}/x", b"")
    with Asked(objects) as asked:
        assert len(objects.listed("a/")) == 12
        assert asked.names == ["ListObjectsV2"] * 3
        assert len(objects.folders("a")) == 12
        objects.delete([found.key for found in objects.listed("a/")])
        assert asked.names.count("DeleteObjects") == 3
    assert objects.listed("a/") == []


def test_a_large_file_goes_up_in_parts(objects: Objects, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(1 << 20) * 20)
    with Asked(objects) as asked:
        objects.upload("large", path)
        assert asked.names.count("UploadPart") == 3
    assert objects.size("large") == path.stat().st_size
    file = io.BytesIO()
    assert objects.download("large", file)
    assert file.getvalue() == path.read_bytes()
    assert not objects.download("nothing", file)


# --- refusals ---


Act = Callable[[Objects], object]

READS: list[tuple[Act, str]] = [
    (lambda objects: objects.get("a"), "s3:GetObject"),
    (lambda objects: objects.download("a", io.BytesIO()), "s3:GetObject"),
    (lambda objects: objects.size("a"), "s3:GetObject"),
    (lambda objects: objects.listed("a"), "s3:ListBucket"),
]
WRITES: list[tuple[Act, str]] = [
    (lambda objects: objects.create("a", b""), "s3:PutObject"),
    (lambda objects: objects.put("a", b""), "s3:PutObject"),
    (lambda objects: objects.upload("a", Path(__file__)), "s3:PutObject"),
]


@pytest.mark.parametrize(("act", "right"), WRITES)
def test_a_right_that_is_missing_is_named(weed: Weed, objects: Objects, act: Act, right: str) -> None:
    reader = Objects(BUCKET, objects.prefix, weed.client("reader"))
    with pytest.raises(StoreError) as error:
        act(reader)
    assert str(error.value) == (
        f"{objects.uri('a')} may not be worked on (AccessDenied: Access Denied.);"
        f" allow these credentials {right} there"
    )


def test_who_may_not_delete_is_told(weed: Weed, objects: Objects) -> None:
    objects.put("a", b"kept")
    with pytest.raises(StoreError, match="allow these credentials s3:DeleteObject there"):
        Objects(BUCKET, objects.prefix, weed.client("reader")).delete(["a"])
    assert objects.get("a") == b"kept"


@pytest.mark.parametrize(("act", "right"), READS)
def test_a_right_to_read_that_is_missing_is_named(weed: Weed, act: Act, right: str) -> None:
    with pytest.raises(StoreError, match=f"allow these credentials {right} there"):
        act(Objects("elsewhere", "", weed.client("reader")))


@pytest.mark.parametrize("act", [act for act, _ in (READS[0], READS[3], *WRITES)])
def test_a_bucket_that_is_missing_is_named(weed: Weed, act: Act) -> None:
    with pytest.raises(
        StoreError, match=f"there is no bucket nowhere at {weed.url}, asked for s3://nowhere/"
    ):
        act(weed.objects("", bucket="nowhere"))


@pytest.mark.parametrize("act", [act for act, _ in READS + WRITES])
def test_a_server_that_cannot_be_reached_is_named(weed: Weed, act: Act) -> None:
    [port] = lasting_ports("127.0.0.1", 1)
    objects = weed.objects("p", url=f"http://127.0.0.1:{port}", tries=1)
    with pytest.raises(StoreError) as error:
        act(objects)
    assert f"http://127.0.0.1:{port} cannot be reached for s3://{BUCKET}/p/a (" in str(error.value)
    assert "see that it runs, and that AWS_ENDPOINT_URL_S3 is right" in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"), [("ACCESS_KEY_ID", "nobody"), ("SECRET_ACCESS_KEY", "no secret of the owner's")]
)
def test_credentials_that_are_refused_are_told(
    weed: Weed, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(
        StoreError, match=f"{weed.url} refuses the credentials for s3://{BUCKET}/.*; set AWS_"
    ):
        Objects(BUCKET).listed()


@pytest.mark.usefixtures("weed")
def test_credentials_that_are_missing_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(
        StoreError, match=r"there are no credentials for s3://artifacts/.*; set AWS_ACCESS_KEY"
    ):
        Objects(BUCKET).listed()
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(
        StoreError, match=r"there are no credentials for s3://artifacts/.*; set AWS_ACCESS_KEY"
    ):
        Objects(BUCKET).listed()


@pytest.mark.parametrize(
    ("name", "value"),
    [("PROFILE", "nonesuch"), ("ENDPOINT_URL_S3", "minio:9000"), ("MAX_ATTEMPTS", "many")],
)
@pytest.mark.usefixtures("weed")
def test_settings_that_are_wrong_are_told(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(StoreError, match=rf"the settings for s3://artifacts/ are wrong: .*{value}"):
        Objects(BUCKET).listed()


@pytest.mark.parametrize(("tries", "made"), [(None, 9), ("2", 2)])
@pytest.mark.usefixtures("weed")
def test_a_request_is_made_again_as_often_as_it_is_told(
    monkeypatch: pytest.MonkeyPatch, tries: str | None, made: int
) -> None:
    if tries:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", tries)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    sent = iter(range(99))
    objects = Objects(BUCKET)
    answers(objects, (answer(503, "SlowDown") for _ in sent))
    with pytest.raises(StoreError, match=r"refuses PutObject of s3://artifacts/a \(SlowDown: told so\)"):
        objects.put("a", b"")
    assert next(sent) == made
    objects.close()


def test_settings_of_the_environment_are_enough(weed: Weed) -> None:
    objects = Objects(BUCKET)
    assert objects.get("up") == b"up"
    objects.close()
    assert objects.get("up") == b"up"
    objects.close()


def test_a_name_that_cannot_be_is_told(objects: Objects) -> None:
    with pytest.raises(StoreError, match="refuses PutObject"):
        objects.put("x" * 2000, b"")


@pytest.mark.parametrize(("status", "code"), [(507, "InsufficientStorage"), (403, "QuotaExceeded")])
def test_a_server_without_room_can_be_asked_again(objects: Objects, status: int, code: str) -> None:
    answers(objects, chain([answer(status, code)], repeat(None)))
    with pytest.raises(StoreFull, match=f"no room is left for s3://.*/a .*{code}.*goes on by itself"):
        objects.create("a", b"")
    assert objects.create("a", b"")


def test_a_busy_server_is_asked_again(objects: Objects) -> None:
    busy = answer(409, "ConditionalRequestConflict")
    answers(objects, chain([busy, busy, None], repeat(busy)))
    assert objects.create("a", b"one")
    with pytest.raises(StoreError, match=r"refuses PutObject of .* \(ConditionalRequestConflict: told so\)"):
        objects.create("b", b"one")


@pytest.mark.parametrize(
    ("code", "more", "told"),
    [
        ("PermanentRedirect", {}, "the bucket bucket lies in another region: name it in AWS_DEFAULT_REGION"),
        (
            "AuthorizationHeaderMalformed",
            {"Region": "eu-west-1"},
            "lies in eu-west-1: set AWS_DEFAULT_REGION=eu-west-1, asked for s3://bucket/key",
        ),
        ("ExpiredToken", {}, "http://server refuses the credentials for s3://bucket/key"),
        ("NotImplemented", {}, "needs a server with conditional writes"),
        (
            "InternalError",
            {},
            r"http://server refuses PutObject of s3://bucket/key \(InternalError: told so\)",
        ),
    ],
)
def test_refusals_that_this_server_does_not_give(code: str, more: dict[str, Any], told: str) -> None:
    response: Any = {"Error": {"Code": code, "Message": "told so", **more}}
    with pytest.raises(StoreError, match=told), refusals(PLACE):
        raise ClientError(response, "PutObject")


def test_credentials_that_cannot_be_fetched_are_told() -> None:
    with pytest.raises(StoreError, match="there are no credentials for s3://bucket/key"), refusals(PLACE):
        raise CredentialRetrievalError(provider="role", error_msg="away")
