"""What an object store means when it refuses, or does not answer: a fact and a remedy, for S3, and for logins of Google.

No client is imported here: their exceptions are told apart by name, so that a store that nobody uses costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from geohydra import signing
from geohydra.errors import GeohydraError, StoreError

KEYS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or what the cloud's own tools take (in pods: cluster.secret_env)"
ENDPOINT = "check the network, and AWS_ENDPOINT_URL where the store is not Amazon's"
LATER = "it is the server's fault: try again later"
RENEWED = "get a new one, put it into the environment (AWS_SESSION_TOKEN), and start again: what is stored is not made anew"

_ANSWERS: Mapping[str, tuple[str, str]] = {
    "AccessDenied": ("access is denied", "these credentials may not do this: ask for the right to list, read and write there"),
    "AllAccessDisabled": ("access is denied", "the store has closed this place"),
    "ExpiredToken": ("the session token has expired", RENEWED),
    "RequestExpired": ("the session token has expired", RENEWED),
    "TokenRefreshRequired": ("the session token has expired", RENEWED),
    "InvalidToken": ("the session token is not valid", RENEWED),
    "InvalidAccessKeyId": (
        "the access key is not known there",
        "check AWS_ACCESS_KEY_ID, and AWS_ENDPOINT_URL where the store is not Amazon's",
    ),
    "SignatureDoesNotMatch": ("the secret key does not fit the access key", "check AWS_SECRET_ACCESS_KEY"),
    "RequestTimeTooSkewed": ("the clock of this machine is wrong", "set it"),
    "NoSuchBucket": ("there is no such bucket", "make the bucket first, or correct its name"),
    "403": ("access is denied", f"the credentials are wrong, have expired, or may not do this; {KEYS}"),
    "400": ("the store refuses the credentials", "a session token may have expired, or belong to another region: get a new one"),
}
"""What a store answers, by its code. A HEAD request has no body: only the status is known then."""

_SILENCES: Mapping[str, tuple[str, str]] = {
    "NoCredentialsError": ("there are no credentials for this store", KEYS),
    "PartialCredentialsError": ("only a part of the credentials is there", KEYS),
    "ProfileNotFound": ("the profile that AWS_PROFILE names is not there", "correct AWS_PROFILE, or the file ~/.aws/config"),
    "CredentialRetrievalError": ("credentials cannot be fetched", KEYS),
    "TokenRetrievalError": ("the login has expired", "log in anew, as with `aws sso login`"),
    "SSOError": ("the login has expired", "log in anew, as with `aws sso login`"),
    "DefaultCredentialsError": ("there are no credentials for this store", "set GOOGLE_APPLICATION_CREDENTIALS, or log in with gcloud"),
    "RefreshError": ("the login has expired", "log in anew with gcloud, or renew the key of the service account"),
    "EndpointConnectionError": ("the store cannot be reached", ENDPOINT),
    "ConnectTimeoutError": ("the store does not answer in time", ENDPOINT),
    "ReadTimeoutError": ("the store does not answer in time", ENDPOINT),
    "ConnectionClosedError": ("the store cannot be reached", ENDPOINT),
    "ProxyConnectionError": ("the proxy cannot be reached", "check HTTPS_PROXY"),
    "SSLError": ("the store's certificate is not trusted", "set AWS_CA_BUNDLE to the certificates that it is signed with"),
    "HTTPClientError": ("the store cannot be reached", ENDPOINT),
    "ClientConnectorError": ("the store cannot be reached", ENDPOINT),
    "ServerTimeoutError": ("the store does not answer in time", ENDPOINT),
}
"""Why there was no answer, by the name of the exception, or of one that it is a kind of."""


@contextmanager
def asking(uri: str, kind: Callable[[str, str, str], GeohydraError] = StoreError) -> Iterator[None]:
    """A store's refusal as an error of this kind. That a file is not there stays FileNotFoundError; that its bucket is not does not."""
    try:
        yield
    except GeohydraError:
        raise
    except Exception as cause:
        told = refusal(cause)
        if told is None:
            raise
        raise kind(signing.bare(uri), *told) from cause


def refusal(cause: BaseException) -> tuple[str, str] | None:
    """The fact and the remedy; None for what is no refusal of a store: an absent file, a full disk."""
    code, status = _answer(cause)
    if code in _ANSWERS:
        return _ANSWERS[code]
    names = [kind.__name__ for kind in type(cause).__mro__]
    if name := next((name for name in names if name in _SILENCES), ""):
        return _SILENCES[name]
    if status in (401, 403) or (isinstance(cause, PermissionError) and cause.errno is None):
        return _ANSWERS["403"]
    if status >= 500:
        return f"the store fails (HTTP {status}), also when asked again", LATER
    if status in (301, 307, 400) and code:
        return f"the store refuses ({code})", "check the address, the region (AWS_DEFAULT_REGION) and AWS_ENDPOINT_URL"
    return None


def _answer(cause: BaseException) -> tuple[str, int]:
    """The code of an answer and its HTTP status, from the client's own exception, which fsspec keeps as the cause of its own."""
    known: BaseException | None = cause
    while known is not None:
        told: Any = getattr(known, "response", None)
        if isinstance(told, Mapping):
            status = int((told.get("ResponseMetadata") or {}).get("HTTPStatusCode") or 0)
            return str((told.get("Error") or {}).get("Code", "")), status
        known = known.__cause__
    return "", 0
