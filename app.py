"""Pooling Explorer's page: python app.py, then open the address it prints.

--backbone ID     put a further backbone on the shelf (repeatable), e.g. Qwen/Qwen3-0.6B
--contender ID    put a sentence-transformers model beside the variants (repeatable)
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading

# Before gradio is imported: nothing leaves the machine unless the user asks for it.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from explorer.__main__ import Parser, add_model_options, make_shelf
from explorer.errors import InputError
from explorer.variants import PUBLISHED, Shelf


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The flags."""
    parser = Parser(prog="app.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default=None, help="address to listen on; the default is this machine only")
    parser.add_argument("--port", type=int, default=None, help="default: the first free one from 7860")
    parser.add_argument("--share", action="store_true", help="make a public link through gradio's servers (off)")
    add_model_options(parser)
    return parser.parse_args(arguments)


def preload(shelf: Shelf) -> None:
    """Load the published model; whoever needs it later is told what went wrong if that fails."""
    with contextlib.suppress(InputError):
        shelf.load(PUBLISHED)


def main(arguments: list[str] | None = None) -> int:
    """Build the page and serve it until interrupted."""
    options = parse(arguments)
    try:
        shelf = make_shelf(options)
    except InputError as error:
        print(f"app.py: {error}", file=sys.stderr)
        return 2
    from explorer.ui import CSS, build_app, theme
    from explorer.ui.services import Services

    services = Services(shelf)
    # While the page is built and the browser opens it; earlier it would hold up the import of gradio.
    threading.Thread(target=preload, args=(shelf,), daemon=True).start()
    app = build_app(services)
    app.launch(
        prevent_thread_lock=True,
        server_name=options.host,
        server_port=options.port,
        share=options.share,
        mcp_server=True,
        theme=theme(),
        css=CSS,
        run_history=False,
        footer_links=["api", "settings"],
        max_file_size="500mb",
    )
    services.warm()  # after the page is served: both want the processor
    app.block_thread()
    return 0


if __name__ == "__main__":
    sys.exit(main())
