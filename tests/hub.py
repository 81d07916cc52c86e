"""A hub on loopback, as strict as its documents: an upload by the real client ends in a repository or in an error.

It has the routes of an upload: whoami, create, validate-yaml, preupload, LFS (batch, PUT, verify), Xet (token,
xorbs, shards), commit. A request that is not as the client's and Xet's documents describe it is refused, and noted
in `refused`. What Xet stores is not put together again: only its hash is compared.
"""

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

TOKEN, XET_TOKEN, USER = "hf_x", "xet_x", "me"
LICENCES = ("apache-2.0", "mit", "llama3.2", "other")  # some of the hub's list
LIBRARIES = ("transformers", "peft", "gguf")
LARGE = (".safetensors", ".gguf", ".bin")  # of .gitattributes in a new repository
REGULAR_BYTES = 10 * 2**20
HASH = re.compile(r"[0-9a-f]{64}")


class Refusal(Exception):
    """A request that the hub would not take."""

    def __init__(self, why: str, status: int = 400, **more: Any) -> None:
        super().__init__(why)
        self.status, self.body = status, {"error": why, **more}


def expect(is_so: bool, why: str) -> None:
    if not is_so:
        raise Refusal(why)


@dataclass
class Repository:
    """What was created and committed. `modes` are those that were answered before the upload."""

    visibility: str
    modes: dict[str, tuple[str, int]] = field(default_factory=dict)
    commits: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes | str] = field(
        default_factory=dict
    )  # content; of a large one through Xet its SHA-256


@dataclass
class Hub:
    """The hub's state, and what it was asked."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)  # LFS, by SHA-256
    stored: int = 0  # bytes of xorbs
    shards: int = 0
    paths: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    fault: Callable[[str], Refusal | None] = lambda path: None

    def at(self, name: str) -> Repository:
        if name not in self.repositories:
            raise Refusal("Repository not found", 404)
        return self.repositories[name]


Request = tuple["Handler", re.Match[str]]


def whoami(hub: Hub, request: Request) -> dict[str, Any]:
    return {"type": "user", "name": USER, "orgs": [], "auth": {"type": "access_token"}}


def create(hub: Hub, request: Request) -> dict[str, Any]:
    body = request[0].json()
    expect(
        body.keys() - {"type"} == {"name", "organization", "visibility"}, f"keys of create: {sorted(body)}"
    )
    expect(body.get("type", "model") == "model" and body["organization"] == USER, "no model of this user")
    name = f"{USER}/{body['name']}"
    if name in hub.repositories:
        raise Refusal("You already created this model repo", 409, url=f"{hub.url}/{name}")
    hub.repositories[name] = Repository(body["visibility"])
    return {"url": f"{hub.url}/{name}", "name": name, "id": "1"}


def validate_yaml(hub: Hub, request: Request) -> dict[str, Any]:
    body = request[0].json()
    expect(body.keys() == {"content", "repoType"} and body["repoType"] == "model", "not a model's card")
    errors = card_errors(body["content"])
    if errors:
        raise Refusal("Invalid metadata", 400, errors=[{"message": one} for one in errors], warnings=[])
    return {"errors": [], "warnings": []}


def card_errors(text: str) -> list[str]:
    """Return what the hub says against the metadata of a model card (docs/hub/model-cards)."""
    block = re.match(r"---\n(.*?\n)---\n", text, re.DOTALL)
    if not block:
        return ["empty or missing yaml metadata in repo card"]
    values = yaml.safe_load(block[1])
    texts = ("library_name", "pipeline_tag", "base_model", "base_model_relation", "license")
    found = [f'"{key}" must be a string' for key in texts if not isinstance(values.get(key, ""), str)]
    if values.get("license", LICENCES[0]) not in LICENCES:
        found.append(f'"license" must be one of [{", ".join(LICENCES)}]')
    if values.get("license") == "other" and not {"license_name", "license_link"} <= values.keys():
        found.append('"license_name" and "license_link" are required for other')
    if values.get("library_name") not in LIBRARIES:
        found.append('"library_name" is not known')
    if values.get("base_model_relation", "finetune") not in ("finetune", "adapter", "quantized", "merge"):
        found.append('"base_model_relation" is not known')
    if not all(isinstance(tag, str) for tag in values.get("tags", [])):
        found.append('"tags" must be an array of strings')
    return found


def preupload(hub: Hub, request: Request) -> dict[str, Any]:
    repository, body = hub.at(request[1]["repo"]), request[0].json()
    expect(body.keys() == {"files"} and 0 < len(body["files"]) <= 256, "not a list of 1 to 256 files")
    answers = []
    for one in body["files"]:
        expect(one.keys() == {"path", "sample", "size"}, f"keys of a file: {sorted(one)}")
        path, sample = one["path"], base64.b64decode(one["sample"], validate=True)
        expect(len(sample) == min(512, one["size"]), f"{path}: the sample is not the first 512 bytes")
        expect(not path.startswith(("/", ".")) and ".." not in path.split("/"), f"{path}: no path of a file")
        is_large = path.endswith(LARGE) or one["size"] > REGULAR_BYTES or b"\0" in sample
        mode = "lfs" if is_large else "regular"
        repository.modes[path] = mode, one["size"]
        old = repository.files.get(path)
        known = (
            {"oid": hashlib.sha1(b"blob %d\0" % len(old) + old).hexdigest()} if isinstance(old, bytes) else {}
        )
        answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, **known})
    return {"files": answers, "commitOid": "0" * 40}


def lfs_batch(hub: Hub, request: Request) -> dict[str, Any]:
    hub.at(request[1]["repo"])
    handler, body = request[0], request[0].json()
    kind = "application/vnd.git-lfs+json"
    expect(handler.headers["Accept"] == handler.headers["Content-Type"] == kind, "no headers of git LFS")
    expect(body["operation"] == "upload" and "basic" in body["transfers"], "no upload by basic")
    expect(body["hash_algo"] == "sha256" and body["ref"] == {"name": "main"}, "no sha256 on main")
    objects = []
    for one in body["objects"]:
        expect(bool(HASH.fullmatch(one["oid"])) and one["size"] > 0, "no object of LFS")
        links = {
            "upload": {"href": f"{hub.url}/storage/{one['oid']}?signature=1"},
            "verify": {"href": f"{hub.url}/api/models/{request[1]['repo']}/lfs/verify"},
        }
        objects.append({**one, **({} if one["oid"] in hub.objects else {"actions": links})})
    return {"transfer": "basic", "objects": objects}


def lfs_put(hub: Hub, request: Request) -> dict[str, Any]:
    handler, (oid,) = request[0], request[1].groups()
    expect("Authorization" not in handler.headers, "the store takes the signed address, and no token")
    data = handler.body()
    expect(hashlib.sha256(data).hexdigest() == oid, f"{oid}: other bytes")
    hub.objects[oid] = data
    return {}


def lfs_verify(hub: Hub, request: Request) -> dict[str, Any]:
    body = request[0].json()
    expect(len(hub.objects.get(body["oid"], b"")) == body["size"], f"{body['oid']}: not there in full")
    return {}


def xet_token(hub: Hub, request: Request) -> dict[str, Any]:
    hub.at(request[1]["repo"])
    return {"casUrl": hub.url, "accessToken": XET_TOKEN, "exp": int(time.time()) + 3600}


def xet_xorb(hub: Hub, request: Request) -> dict[str, Any]:
    expect(bool(HASH.fullmatch(request[1]["hash"])), "no hash")
    hub.stored += len(request[0].body())
    return {"was_inserted": True}


def xet_shard(hub: Hub, request: Request) -> dict[str, Any]:
    expect(request[0].body().startswith(b"HFRepoMetaData\0"), "no shard")
    hub.shards += 1
    return {"result": 1}


def commit(hub: Hub, request: Request) -> dict[str, Any]:
    handler, repository = request[0], hub.at(request[1]["repo"])
    expect(handler.headers["Content-Type"] == "application/x-ndjson", "not ndjson")
    header, *rest = [json.loads(line) for line in handler.body().splitlines()]
    expect(header["key"] == "header" and header["value"].keys() == {"summary", "description"}, "no header")
    added = dict(committed(hub, repository, one["key"], one["value"]) for one in rest)
    expect(len(added) == len(rest) > 0, "no files, or one twice")
    repository.files |= added
    repository.commits.append({"summary": header["value"]["summary"], "files": sorted(added)})
    oid = f"{len(repository.commits):040x}"
    return {
        "success": True,
        "commitOid": oid,
        "commitUrl": f"{hub.url}/{request[1]['repo']}/commit/{oid}",
        "hookOutput": "",
    }


def committed(hub: Hub, repository: Repository, key: str, value: dict[str, Any]) -> tuple[str, bytes | str]:
    """Return the path and the content of an added file, which must be stored as its mode says."""
    path = value["path"]
    mode, size = repository.modes.get(path, ("", 0))
    if key == "file":
        expect(
            value.keys() == {"content", "path", "encoding"} and value["encoding"] == "base64", f"{path}: keys"
        )
        content = base64.b64decode(value["content"], validate=True)
        expect(mode == "regular" and len(content) == size, f"{path}: was announced as {mode} of {size} bytes")
        return path, content
    expect(key == "lfsFile" and value.keys() == {"path", "algo", "oid", "size"}, f"{path}: no key {key}")
    oid = value["oid"]
    expect(
        mode == "lfs" and value["size"] == size and value["algo"] == "sha256",
        f"{path}: was announced otherwise",
    )
    expect(oid in hub.objects or hub.shards > 0, f"{path}: its content was not uploaded")
    return path, hub.objects.get(oid, oid)


REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
ROUTES: dict[str, tuple[str, Callable[[Hub, Request], dict[str, Any]]]] = {
    # method and path: whose token, and the answer
    r"GET /api/whoami-v2": (TOKEN, whoami),
    r"POST /api/repos/create": (TOKEN, create),
    r"POST /api/validate-yaml": (TOKEN, validate_yaml),
    rf"POST /api/models/{REPO}/preupload/main": (TOKEN, preupload),
    rf"POST /{REPO}\.git/info/lfs/objects/batch": (TOKEN, lfs_batch),
    r"PUT /storage/([0-9a-f]{64})\?signature=1": ("", lfs_put),
    rf"POST /api/models/{REPO}/lfs/verify": (TOKEN, lfs_verify),
    rf"GET /api/models/{REPO}/xet-write-token/main": (TOKEN, xet_token),
    r"POST /v1/xorbs/default/(?P<hash>\w+)": (XET_TOKEN, xet_xorb),
    r"POST /(v1/)?shards": (XET_TOKEN, xet_shard),
    rf"POST /api/models/{REPO}/commit/main": (TOKEN, commit),
}


class Handler(BaseHTTPRequestHandler):
    """One request. A body is read in full, whatever becomes of it."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def body(self) -> bytes:
        return self._body

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._body)
        return found

    def do(self) -> None:
        self._body = self._read()
        line = f"{self.command} {self.path}"
        self.hub.paths.append(line)
        try:
            status, answer, why = 200, self._answer(line), ""
        except Refusal as refusal:
            status, answer, why = refusal.status, refusal.body, str(refusal)
            if status == 400:
                self.hub.refused.append(f"{line}: {refusal}")
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if why:
            self.send_header("X-Error-Message", why)
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_HEAD = do

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _answer(self, line: str) -> dict[str, Any]:
        if fault := self.hub.fault(line):
            raise fault
        for pattern, (token, answer) in ROUTES.items():
            if found := re.fullmatch(pattern, line):
                if token and self.headers.get("Authorization") != f"Bearer {token}":
                    raise Refusal("Invalid credentials in Authorization header", 401)
                return answer(self.hub, (self, found))
        raise Refusal(f"no route {line}", 404)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Serve an empty hub until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
