"""How to reach a Kubeflow Pipelines server, whether it can be used at all, and what its refusals mean."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geohydra.errors import ConfigError, EngineError

OLDEST = (2, 0)
"""The first release of the server that knows what a compiled file says."""

HOST = "runner.host"
CLUSTER = "the cluster"

_SECONDS = 20.0
_BELOW_CLUSTER = "/var/run/secrets/kubernetes.io/serviceaccount/token"


class Passing(EngineError):
    """What may be over in a moment."""

    passing = True


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a server. Secrets are named, never held: `token_env` and `cookies_env` are variables, `token_file` is a file."""

    host: str | None = None
    ui: str | None = None
    namespace: str | None = None
    token_env: str | None = None
    token_file: str | None = None
    cookies_env: str | None = None
    ca_file: str | None = None
    verify: bool = True

    @property
    def address(self) -> str:
        """With a scheme, without a slash at its end; "" where the cluster is to be found otherwise."""
        host = (self.host or "").rstrip("/")
        scheme, sign, _ = host.partition("://")
        if sign and scheme not in ("http", "https"):
            raise ConfigError(HOST, f"{host} is no address of a server", "it begins with https:// or http://")
        return host if sign or not host else f"https://{host}"

    def token(self) -> str:
        """The token as it is now; "" where none is asked for. Raises ConfigError where it is not there."""
        if self.token_env:
            return _variable(self.token_env, "runner.token_env")
        if self.token_file:
            try:
                return Path(self.token_file).read_text().strip()
            except OSError as cause:
                raise ConfigError("runner.token_file", f"{self.token_file} cannot be read ({cause.strerror})") from cause
        return ""

    def cookies(self) -> str | None:
        """The cookies of a session."""
        return _variable(self.cookies_env, "runner.cookies_env") if self.cookies_env else None

    def refresh_api_key_hook(self, config: Any) -> None:
        """Called by the client before every request: a token that was renewed counts at once."""
        config.api_key["authorization"] = self.token()

    @property
    def source(self) -> str:
        """Where the token comes from, in words."""
        return f"the variable {self.token_env}" if self.token_env else str(self.token_file or "runner.token_env or runner.token_file")


def ask_version(access: Access) -> str:
    """The release of the server; "" where it does not say. Raises EngineError where it is too old, or does not answer."""
    if not access.address:
        return ""
    try:
        told = _parsed(access, _health(access))
    except urllib.error.HTTPError as cause:
        if cause.code == 404:
            raise _too_old("the server has no API v2beta1") from cause
        raise refused(access, cause.code, "its health", message_of(cause.read())) from cause
    except OSError as cause:
        raise unreachable(access, cause) from cause
    version = str(told.get("tag_name") or "") if isinstance(told, dict) else ""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < OLDEST:
        raise _too_old(f"the server is Kubeflow Pipelines {version}")
    return version


def finds_cluster() -> bool:
    """Whether this is a pod, or kubectl has been set up here."""
    known = [path for path in os.environ.get("KUBECONFIG", "").split(os.pathsep) if path] or [str(Path.home() / ".kube" / "config")]
    return Path(_BELOW_CLUSTER).exists() or any(Path(path).is_file() for path in known)


def refused(access: Access, status: int, what: str, message: str) -> EngineError | ConfigError:
    """What an answer means that is an error."""
    if status == 401:
        hint = f"get a new one and put it into {access.source}; runs go on meanwhile, and the same command watches them again"
        known = bool(access.token_env or access.token_file)
        return EngineError(HOST, "the token has expired, or is not one of this server" if known else "the server wants a token", hint)
    if status == 403:
        where = f"the namespace {access.namespace!r}" if access.namespace else "this"
        hint = "set runner.namespace to one that you may use, or have a role in it"
        return ConfigError("runner.namespace", f"the server does not let you use {where} ({_brief(message) or what})", hint)
    if status == 404:
        hint = "ids are listed by `geohydra remote list` and `geohydra schedule list`"
        return EngineError(CLUSTER, f"it does not know {what}", hint)
    if status in (0, 429) or status >= 500:
        return Passing(CLUSTER, f"it answers {status} to {what} ({_brief(message)})", "try again later")
    return EngineError(CLUSTER, f"it refuses {what} ({_brief(message)})")


def unreachable(access: Access, cause: BaseException) -> EngineError:
    """Nobody answers at the address."""
    reason = getattr(cause, "reason", None) or cause
    hint = "check runner.host, the network or the port-forward (kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80)"
    if "certificate" in str(reason):
        hint = "set runner.ca_file to the certificates that this server is signed with"
    return Passing(HOST, f"{access.address or CLUSTER} cannot be reached ({_brief(str(reason))})", hint)


def message_of(body: Any) -> str:
    """The sentence in an answer that is an error."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        told = json.loads(text)
    except ValueError:
        return text
    return str(told.get("message") or told.get("error") or told.get("error_message") or text) if isinstance(told, dict) else text


def _health(access: Access) -> bytes:
    headers = {"Authorization": f"Bearer {token}"} if (token := access.token()) else {}
    headers |= {"Cookie": cookies} if (cookies := access.cookies()) else {}
    request = urllib.request.Request(f"{access.address}/apis/v2beta1/healthz", headers=headers)  # noqa: S310 (http or https, see `address`)
    with urllib.request.urlopen(request, timeout=_SECONDS, context=_trusting(access)) as answer:  # noqa: S310
        return bytes(answer.read())


def _parsed(access: Access, body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as cause:
        problem = f"{access.address} answers with a page where data should be: it wants a login, or is no Kubeflow Pipelines server"
        hint = "set runner.token_env or runner.cookies_env to the name of a variable that holds a token, or a session's cookies"
        raise EngineError(HOST, problem, hint) from cause


def _trusting(access: Access) -> Any:
    import ssl

    if not access.address.startswith("https"):
        return None
    context = ssl.create_default_context(cafile=access.ca_file)
    if not access.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _too_old(fact: str) -> EngineError:
    return EngineError(HOST, f"{fact}, and a compiled file needs {OLDEST[0]}.{OLDEST[1]} or newer", "upgrade Kubeflow Pipelines")


def _variable(name: str, where: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise ConfigError(where, f"the variable {name} is not set", f"export {name}=..., or set {where} to null")
    return value


def _brief(text: str) -> str:
    words = " ".join(str(text).split())
    return words if len(words) <= 240 else f"{words[:237]}..."
