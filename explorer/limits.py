"""How much one person may ask for at once. A public demo sets less than a person's own machine."""

from __future__ import annotations

from dataclasses import dataclass

from .corpora import MAX_DOCUMENTS
from .errors import InputError


@dataclass(frozen=True)
class Limits:
    """Upper bounds; what is above one is refused with a sentence that names it. The defaults are those of the page."""

    k: int = 50
    """Results a variant."""
    variants: int | None = None
    """Variants compared at once; None: as many as are on the shelf."""
    text: int | None = None
    """Characters of a query, or of a text whose layers are read; None: any (what a variant does not read is cut)."""
    queries: int = MAX_DOCUMENTS
    """Queries run at once."""
    documents: int = MAX_DOCUMENTS
    """Documents of a corpus of one's own."""
    upload: int = 500 * 10**6
    """Bytes of a file, or characters of pasted text."""
    corpora: int | None = None
    """Corpora of one's own; None: any number."""

    def check_text(self, text: str) -> None:
        """Raises `InputError` for a text that is too long."""
        if self.text is not None and len(text) > self.text:
            raise InputError(f"this text has {len(text):,} characters; here {self.text:,} are the most")

    def check_queries(self, count: int) -> None:
        """Raises `InputError` for too many queries."""
        if count > self.queries:
            raise InputError(f"these are {count:,} queries; here {self.queries:,} are the most")

    def check_variants(self, count: int, k: int) -> None:
        """Raises `InputError` for too many variants, or results of each."""
        if not 1 <= k <= self.k:
            raise InputError(f"top-k must be between 1 and {self.k}, not {k}")
        if self.variants is not None and count > self.variants:
            raise InputError(f"these are {count} variants; here {self.variants} are the most at once")

    def check_upload(self, size: int) -> None:
        """Raises `InputError` for a file, or a pasted text, that is too large."""
        if size > self.upload:
            raise InputError(f"this holds {size / 1e6:,.1f} MB; here {self.upload / 1e6:,.0f} MB are the most")

    def check_documents(self, count: int) -> None:
        """Raises `InputError` for too many documents."""
        if count > self.documents:
            raise InputError(f"this corpus has {count:,} documents; here {self.documents:,} are the most")
