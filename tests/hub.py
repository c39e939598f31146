"""A stand-in for the Hugging Face hub on loopback: it answers what huggingface_hub asks of models and data sets, and
takes models that are uploaded."""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]  # path -> content
PAGE = 3  # files that one page of a listing has


@dataclass
class StandIn:
    """repositories: (kind, name) -> branch -> files, where kind is models or datasets.

    token: the one that may upload. made: what was asked for each repository that is made. gated: names of those whose
    files are refused. broken: pattern of requests that fail with 503. cut: paths of files of which half is sent. asked:
    the requests, in their order.
    """

    repositories: dict[tuple[str, str], dict[str, Files]] = field(default_factory=dict)
    token: str | None = None
    made: dict[str, dict] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    broken: str | None = None
    cut: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def server(self) -> ThreadingHTTPServer:
        """Serves it on a free port of loopback once `serve_forever` is called."""
        return ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))


def commit(files: Files) -> str:
    """Forty hex digits that follow the files of a branch."""
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: StandIn

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        self.hub.asked.append(f"{self.command} {path}")
        if self.hub.broken and re.search(self.hub.broken, f"{self.command} {path}"):
            return self._answer(503)
        if path == "/":
            return self._answer(200)
        if api := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree)/(.+?)/?)?", path):
            kind, name, what, revision = api.groups()
        elif resolved := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([0-9a-f]{40}|[^/]+)/(.+)", path):
            prefix, name, revision, file = resolved.groups()
            kind, what = "datasets" if prefix else "models", "file"
        else:
            return self._answer(404)
        branches = self.hub.repositories.get((kind, name))
        if branches is None:
            return self._answer(404, {"X-Error-Code": "RepoNotFound"})
        files = next((f for b, f in branches.items() if (revision or "main") in (b, commit(f))), None)
        if files is None:
            return self._answer(404, {"X-Error-Code": "RevisionNotFound"})
        if what == "file":
            return self._file(name, files, file)
        if what == "tree":
            return self._page(url.query, files)
        about = {"id": name, "sha": commit(files), "siblings": [{"rfilename": path} for path in files]}
        return self._answer(200, content=json.dumps(about).encode())

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """A repository is made, a card is checked, it is told how to send files, and small files are committed."""
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        sent = self._body()
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self._answer(401, {"X-Error-Message": "Invalid username or password."})
        if path == "/api/validate-yaml":
            return self._answer(200, content=json.dumps({"errors": [], "warnings": []}).encode())
        if path == "/api/repos/create":
            asked = json.loads(sent)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            known = ("models", name) in self.hub.repositories
            self.hub.made.setdefault(name, asked)
            self.hub.repositories.setdefault(("models", name), {"main": {}})
            return self._answer(409 if known else 200, content=json.dumps({"url": f"/{name}"}).encode())
        name, what = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", path).groups()
        files = self.hub.repositories["models", name]["main"]
        if what == "preupload":
            told = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(sent)["files"]
            ]
            return self._answer(200, content=json.dumps({"files": told}).encode())
        for line in map(json.loads, sent.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        about = {"commitUrl": f"/{name}/commit/{commit(files)}", "commitOid": commit(files)}
        return self._answer(200, content=json.dumps(about).encode())

    def _body(self) -> bytes:
        """What is sent, whole or in chunks."""
        if size := self.headers.get("Content-Length"):
            return self.rfile.read(int(size))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _file(self, name: str, files: Files, file: str) -> None:
        if name in self.hub.gated:
            return self._answer(
                403, {"X-Error-Code": "GatedRepo", "X-Error-Message": f"Access to {name} is restricted"}
            )
        if file not in files:
            return self._answer(404, {"X-Error-Code": "EntryNotFound"})
        digest = hashlib.sha256(files[file]).hexdigest()
        return self._answer(
            200, {"ETag": f'"{digest}"', "X-Repo-Commit": commit(files)}, files[file], file in self.hub.cut
        )

    def _page(self, query: str, files: Files) -> None:
        start = int((re.findall(r"cursor=(\d+)", query) or ["0"])[0])
        page = [
            {"type": "file", "path": path, "size": len(files[path]), "oid": hashlib.sha1(files[path]).hexdigest()}
            for path in list(files)[start : start + PAGE]
        ]
        here = f"http://{self.headers['Host']}{urlsplit(self.path).path}?recursive=true&cursor={start + PAGE}"
        link = {"Link": f'<{here}>; rel="next"'} if start + PAGE < len(files) else {}
        return self._answer(200, link, json.dumps(page).encode())

    def _answer(
        self, status: int, headers: dict[str, str] | None = None, content: bytes = b"", cut: bool = False
    ) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)

    def log_message(self, *_) -> None:
        pass
