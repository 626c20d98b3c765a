"""What an object store refuses, in the words of this package."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    InvalidConfigError,
    LoginError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as NotConnected
from s3transfer.exceptions import RetriesExceededError

from metta.sweep.contracts.errors import StoreAway, StoreError, StoreFull

ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
"""Codes of an object that is not there."""

TAKEN = frozenset({"PreconditionFailed", "412"})
"""Codes of an object that is there already."""

BUSY = frozenset({"ConditionalRequestConflict", "OperationAborted", "409"})
"""Codes of two writers at the very same moment, which are asked to try again."""

_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    NoAuthTokenError,
    SSOError,
    LoginError,
)
_SETTINGS = (ProfileNotFound, ConfigParseError, ConfigNotFound, InvalidConfigError, NoRegionError)
_UNRENEWED = (CredentialRetrievalError, TokenRetrievalError)
_UNREACHABLE = (
    NotConnected,
    HTTPClientError,
    IncompleteReadError,
    FlexibleChecksumError,
    RetriesExceededError,
)

_PASSING = {
    *("RequestTimeout", "RequestTimeTooSkewed", "SlowDown", "Throttling", "ThrottlingException"),
    *("TooManyRequests", "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "408", "429"),
}
"""Codes of what passes by itself, or when somebody has signed in again."""

_REFUSED = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidToken",
    "TokenRefreshRequired",
    "RequestTimeTooSkewed",
}
_FORBIDDEN = {"AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "Forbidden"}
_ELSEWHERE = {
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "301",
    "307",
}
_FULL = {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "507"}

_RIGHTS = {
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "DeleteObjects": "s3:DeleteObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
}

SIGN_IN = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile in AWS_PROFILE, or give the machine"
    " a role"
)


class Place(NamedTuple):
    """What is worked on.

    Args:
        uri: The object, or what its name begins with.
        bucket: Its bucket.
        endpoint: The server that was asked.
    """

    uri: str
    bucket: str
    endpoint: str


@contextmanager
def refusals(place: Place) -> Iterator[None]:
    """Errors of boto3 as those of this package.

    Raises:
        StoreFull: When there is no room.
        StoreAway: When the server does not answer, or not as it should.
        StoreError: When it cannot be done for another reason; says what to do.
    """
    try:
        yield
    except ClientError as error:
        raise _answered(error, place) from error
    except (BotoCoreError, RetriesExceededError) as error:
        kind = StoreAway if isinstance(error, _UNREACHABLE + _UNRENEWED) else StoreError
        raise kind(_unanswered(error, place)) from error


def code_of(error: ClientError) -> str:
    """The code of a refusal."""
    return error.response.get("Error", {}).get("Code", "")


def _answered(error: ClientError, place: Place) -> StoreError:
    """What the server said."""
    code, status = code_of(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code in _FULL or status == 507:
        return StoreFull(
            f"no room is left for {place.uri} ({code}); free some, and what has begun goes on by itself"
        )
    is_servers = status is not None and status >= 500 and code != "NotImplemented"
    kind = StoreAway if is_servers or code in _PASSING else StoreError
    return kind(_reason(error, code, place))


def _reason(error: ClientError, code: str, place: Place) -> str:
    said = f"{code}: {error.response.get('Error', {}).get('Message', '')}"
    operation = error.operation_name
    if code in _REFUSED:
        return f"{place.endpoint} refuses the credentials for {place.uri} ({said}); {SIGN_IN}"
    if code in _FORBIDDEN:
        right = _RIGHTS.get(operation, f"s3:{operation}")
        return f"{place.uri} may not be worked on ({said}); allow these credentials {right} there"
    if code == "NoSuchBucket":
        return (
            f"there is no bucket {place.bucket} at {place.endpoint}, asked for {place.uri}; make it, or name"
            " another server in AWS_ENDPOINT_URL_S3"
        )
    if code in _ELSEWHERE:
        return f"the bucket {place.bucket} lies {_region(error)}, asked for {place.uri} ({said})"
    if code == "NotImplemented":
        return (
            f"{place.endpoint} does not know {operation} as it is used for {place.uri} ({said}); the store"
            " needs a server with conditional writes (If-None-Match)"
        )
    return f"{place.endpoint} refuses {operation} of {place.uri} ({said})"


def _region(error: ClientError) -> str:
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = headers.get("x-amz-bucket-region") or str(error.response.get("Error", {}).get("Region", ""))
    return (
        f"in {region}: set AWS_DEFAULT_REGION={region}"
        if region
        else "in another region: name it in AWS_DEFAULT_REGION"
    )


def _unanswered(error: Exception, place: Place) -> str:
    """What stood in the way of an answer."""
    if isinstance(error, _CREDENTIALS):
        return f"there are no credentials for {place.uri} ({error}); {SIGN_IN}"
    if isinstance(error, _SETTINGS):
        return f"the settings for {place.uri} are wrong: {error}"
    if isinstance(error, _UNREACHABLE):
        return (
            f"{place.endpoint} cannot be reached for {place.uri} ({error}); see that it runs, and that"
            " AWS_ENDPOINT_URL_S3 is right"
        )
    if isinstance(error, ParamValidationError):
        return f"{place.uri} cannot be the name of an object: {error}"
    return f"{place.uri}: {error}"
