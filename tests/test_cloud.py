"""Object stores that refuse, fail or are silent: each told in a sentence with its remedy."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from geohydra import storage
from geohydra.cloud import asking, refusal
from geohydra.errors import DataError, StoreError


class Refusing:
    """A real HTTP server that answers every request in the same way, as an object store does."""

    def __init__(self) -> None:
        told = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = f"<?xml version='1.0'?><Error><Code>{told.code}</Code><Message>no</Message></Error>".encode()
                self.send_response(told.status)
                self.send_header("Content-Type", "application/xml")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_PUT = do_HEAD = do_POST = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.status, self.code = 403, "AccessDenied"
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def refusing() -> Iterator[Refusing]:
    found = Refusing()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment with keys of its own and no settings of the user's; clients are made anew."""
    import s3fs

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    settings = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "word", "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1"}
    settings |= {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    yield monkeypatch
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize(
    ("status", "code", "fact"),
    [
        (403, "AccessDenied", "access is denied; these credentials may not do this"),
        (403, "InvalidAccessKeyId", "the access key is not known there; check AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", "the secret key does not fit the access key; check AWS_SECRET_ACCESS_KEY"),
        (400, "ExpiredToken", "the session token has expired; get a new one"),
        (404, "NoSuchBucket", "there is no such bucket; make the bucket first"),
    ],
)
def test_what_a_store_refuses_to_take_is_told_by_its_code(
    refusing: Refusing, keys: pytest.MonkeyPatch, status: int, code: str, fact: str
) -> None:
    keys.setenv("AWS_ENDPOINT_URL", refusing.uri)
    refusing.status, refusing.code = status, code

    with pytest.raises(StoreError) as told:
        storage.write_bytes("s3://bucket/a/b.json", b"{}")

    assert str(told.value).startswith(f"s3://bucket/a/b.json: {fact}")


@pytest.mark.parametrize(("status", "fact"), [(403, "access is denied"), (400, "a session token may have expired")])
def test_a_refusal_without_a_body_is_told_by_its_status(refusing: Refusing, keys: pytest.MonkeyPatch, status: int, fact: str) -> None:
    keys.setenv("AWS_ENDPOINT_URL", refusing.uri)
    refusing.status, refusing.code = status, "Whatever"

    for ask in (storage.exists, storage.read_bytes):
        with pytest.raises(StoreError, match=fact):
            ask("s3://bucket/a/b.json")
    with pytest.raises(DataError, match=fact):
        storage.stat("s3://bucket/a.tif")


@pytest.mark.slow
def test_a_store_that_fails_is_not_the_users_fault(refusing: Refusing, keys: pytest.MonkeyPatch) -> None:
    keys.setenv("AWS_ENDPOINT_URL", refusing.uri)
    refusing.status, refusing.code = 503, "SlowDown"

    with pytest.raises(StoreError, match=r"the store fails \(HTTP 503\), also when asked again; .* try again later"):
        storage.write_bytes("s3://bucket/a.json", b"{}")


def test_a_store_where_nobody_listens_cannot_be_reached(keys: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    keys.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")

    with pytest.raises(StoreError, match="the store cannot be reached; check the network, and AWS_ENDPOINT_URL"):
        storage.exists("s3://bucket/a.json")


def test_a_listing_tells_the_reason_too(refusing: Refusing, keys: pytest.MonkeyPatch) -> None:
    keys.setenv("AWS_ENDPOINT_URL", refusing.uri)
    refusing.status, refusing.code = 403, "AccessDenied"

    with pytest.raises(DataError, match=r"s3://bucket/\*\.tif: access is denied"):
        storage.list_files("s3://bucket/*.tif")


def test_a_bucket_that_is_not_there_is_no_absent_file(s3: str) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(f"{s3}/a.json")
    with pytest.raises(StoreError, match="there is no such bucket"):
        storage.read_bytes("s3://geohydra-nobody-made-this/a.json")


def test_a_full_disk_is_no_refusal_of_a_store() -> None:
    assert refusal(OSError(28, "No space left on device")) is None
    assert refusal(FileNotFoundError("a.json")) is None
    with pytest.raises(OSError, match="No space left"), asking("s3://bucket/a.json"):
        raise OSError(28, "No space left on device")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "fact"),
    [
        ("AWS_PROFILE", "the profile that AWS_PROFILE names is not there"),
        ("", "there are no credentials for this store; set AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_plan_for_a_store_without_credentials_ends_with_one_line(tmp_path: Path, variable: str, fact: str) -> None:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    clean |= {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    clean |= {variable: "nobody"} if variable else {}
    command = [sys.executable, "-m", "geohydra", "plan", "experiment=quick", "tracking=none", "store=s3://bucket/store"]

    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)

    assert done.returncode == StoreError.exit_code
    assert fact in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
