"""A visitor without a browser: speaks the page's own protocol over plain HTTP, so that every handler can be called."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import httpx

API = "/gradio_api"


class Refused(Exception):
    """The page answered with an error; its text is what a person would read."""


class Visitor:
    """One open page. `session` is the key that the page sends with each call."""

    def __init__(self, url: str, session: str | None = None, timeout: float = 120.0) -> None:
        self.url = url.rstrip("/")
        self.session = session or secrets.token_hex(8)
        self.http = httpx.Client(base_url=self.url, timeout=timeout, trust_env=False)

    @cached_property
    def config(self) -> dict[str, Any]:
        """What the page is made of."""
        return self.http.get("/config").raise_for_status().json()

    def login(self, user: str, password: str) -> int:
        """Log in; the status code."""
        return self.http.post("/login", data={"username": user, "password": password}).status_code

    @property
    def handlers(self) -> list[dict[str, Any]]:
        """Handlers that run on the server."""
        return [d for d in self.config["dependencies"] if d["backend_fn"]]

    def component(self, elem_id: str) -> dict[str, Any]:
        """The component with that id on the page."""
        return next(c for c in self.config["components"] if c["props"].get("elem_id") == elem_id)

    def handler(self, elem_id: str, event: str) -> dict[str, Any]:
        """The first handler of a component's event."""
        target = [self.component(elem_id)["id"], event]
        return {"name": elem_id, **next(d for d in self.handlers if target in d["targets"])}

    def fill(self, handler: dict[str, Any], values: dict[str, Any]) -> list[Any]:
        """Inputs of a handler: given by the component's id on the page, else what the page starts with."""
        parts = {c["id"]: c["props"] for c in self.config["components"]}
        found = []
        for id in handler["inputs"]:
            name = parts[id].get("elem_id")
            found.append(values[name] if name in values else parts[id].get("value"))
        return found

    def upload(self, path: Path) -> dict[str, Any]:
        """Send a file; what a file component then holds."""
        with path.open("rb") as file:
            answer = self.http.post(f"{API}/upload", files={"files": (path.name, file)})
        if answer.status_code != 200:
            raise Refused(answer.text)
        return {"path": answer.json()[0], "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}

    def call(self, handler: dict[str, Any] | str, data: Sequence[Any], event: Any = None) -> list[Any]:
        """Call a handler, or a named endpoint, and wait: what its outputs then show. Raises `Refused`."""
        if isinstance(handler, str):
            handler = next(d for d in self.handlers if d["api_name"] == handler)
        body = {"data": list(data), "fn_index": handler["id"], "session_hash": self.session, "event_data": event}
        if not handler["queue"]:
            answer = self.http.post(f"{API}/run/predict", json=body)
            if answer.status_code != 200:
                raise Refused(answer.text)
            return answer.json()["data"]
        joined = self.http.post(f"{API}/queue/join", json=body)
        if joined.status_code != 200:
            raise Refused(joined.text)
        return self._outputs(joined.json()["event_id"])

    def _outputs(self, event_id: str) -> list[Any]:
        shown: list[Any] = []
        step: list[Any] = []
        with self.http.stream("GET", f"{API}/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                message = json.loads(line[5:]) if line.startswith("data:") else {}
                if message.get("event_id") != event_id or "output" not in message:
                    continue
                if not message["success"]:
                    raise Refused(str(message["output"].get("error")))
                after = message["output"].get("data") or []
                step = changed(step, after) if message["msg"] == "process_generating" else after
                shown = [old if is_skip(new) else new for old, new in zip_longest(shown, step)] if step else shown
                if message["msg"] == "process_completed":
                    return shown
        raise Refused("the answer was cut off")

    @contextmanager
    def present(self):
        """The page is open for so long, and closed at the end."""
        with self.http.stream("GET", f"{API}/heartbeat/{self.session}"):
            yield


def is_skip(output: Any) -> bool:
    """Whether an output is left as it was."""
    return isinstance(output, dict) and output.get("__type__") == "update" and set(output) <= {"__type__", "props"}


def changed(before: list[Any], after: list[Any]) -> list[Any]:
    """The outputs after a step of a generator, which are sent as differences from the step before."""
    if len(before) != len(after):
        return after
    return [
        _applied(old, new) if isinstance(new, list) and all(isinstance(p, list) and len(p) == 3 for p in new) else new
        for old, new in zip(before, after, strict=True)
    ]


def _applied(value: Any, edits: list[list[Any]]) -> Any:
    for action, path, new in edits:
        if not path:
            value = new if action != "append" else value + new
            continue
        place = value
        for step in path[:-1]:
            place = place[step]
        last = path[-1]
        if action in ("replace", "add"):
            if isinstance(place, list) and action == "add":
                place.insert(last, new)
            else:
                place[last] = new
        elif action == "append":
            place[last] += new
        elif action == "delete":
            del place[last]
    return value
