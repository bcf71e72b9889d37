"""What visitors of the page may do: everything on one's own machine, less in a public demo.

A closed feature is closed where the work would begin (`Policy.allow`, called by the services and by handlers that reach
files or the hub), and its part of the page is not built: what stands there says why instead (ui/closed.py).
"""

from __future__ import annotations

import os
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .errors import InputError
from .limits import Limits

Feature = Literal["train", "evaluate", "study", "hub", "push", "folder", "shelf"]

CLOSED: dict[Feature, str] = {
    "train": "Training is off in this public demo: it would take the processor from everybody else.",
    "evaluate": "Evaluation runs are off in this public demo: they would take the processor from everybody else.",
    "study": "New studies are off in this public demo: they take hours of training.",
    "hub": "Models and datasets from the hub are not loaded in this public demo: all visitors share its memory.",
    "push": "Nothing is exported or pushed from this public demo: a variant would go out under its owner’s name.",
    "folder": "Folders and files of this server are not opened in this public demo.",
    "shelf": "What is loaded and cached is shared by all visitors of this public demo, so it cannot be changed here.",
}
"""Why each feature is closed in a demo."""

DEMO_LIMITS = Limits(k=20, variants=6, text=2000, queries=500, documents=2000, upload=2 * 10**6, corpora=3)
WAITING, WAITING_IN_DEMO = 200, 100
"""Calls that wait in the queue before further ones are refused."""

DEMO_DOCUMENTS = (
    "In this public demo your documents (up to {documents:,}, {upload:.0f} MB) and judgments are seen by this page "
    "alone, and are deleted after it is closed or loaded anew, an uploaded file within the hour."
)
LOGIN_DOCUMENTS = "Your documents and judgments are kept for your user name; other users do not see them."


def on_spaces() -> str:
    """The id of the Hugging Face Space that this runs on; empty elsewhere."""
    return os.environ.get("SPACE_ID", "")


@dataclass(frozen=True)
class Policy:
    """What is allowed. `demo`: strangers visit. `login`: users have names, and each has corpora of their own."""

    demo: bool = False
    login: bool = False
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def public_demo(cls, login: bool = False) -> Policy:
        """Nothing that costs others much, reaches the server's files, or lasts."""
        return cls(demo=True, login=login, limits=DEMO_LIMITS)

    def allows(self, feature: Feature) -> bool:
        """Whether the feature is open here."""
        return not (self.demo and feature in CLOSED)

    def allow(self, feature: Feature) -> None:
        """Raises `InputError` with the reason where the feature is closed."""
        if not self.allows(feature):
            raise InputError(f"{CLOSED[feature]} {self.remedy}")

    def check_file(self, path: Path) -> None:
        """Raises `InputError` for an uploaded file that is too large, packed or unpacked."""
        size, names = path.stat().st_size, [path.name]
        if self.demo and zipfile.is_zipfile(path):
            # what is no whole zip file is refused by whoever reads it
            with suppress(zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
                with zipfile.ZipFile(path) as archive:
                    members = archive.infolist()
                size = max(size, sum(member.file_size for member in members))
                names += [member.filename for member in members]
        self.limits.check_upload(size)
        if self.demo and any(name.lower().endswith(".parquet") for name in names):
            # a few bytes of it can unpack to any size, which is known only when it was read
            raise InputError("Parquet is not read in this public demo; save it as CSV or JSON Lines")

    @property
    def remedy(self) -> str:
        """How to have what is closed here."""
        if on_spaces():
            return "Duplicate this Space to use it."
        return "Run Pooling Explorer on your own machine (python app.py) to use it."

    @property
    def waiting(self) -> int:
        """Calls that may wait."""
        return WAITING_IN_DEMO if self.demo else WAITING

    @property
    def files_kept(self) -> tuple[int, int]:
        """(how often files that were uploaded or made are looked through, how old they may be), in seconds."""
        return (600, 3000) if self.demo else (3600, 86400)

    @property
    def about_documents(self) -> str:
        """What becomes of a visitor's documents; empty on one's own machine."""
        if self.demo:
            return DEMO_DOCUMENTS.format(documents=self.limits.documents, upload=self.limits.upload / 1e6)
        return LOGIN_DOCUMENTS if self.login else ""
