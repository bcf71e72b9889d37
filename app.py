"""Pooling Explorer's page: python app.py, then open the address it prints.

--backbone ID     put a further backbone on the shelf (repeatable), e.g. Qwen/Qwen3-0.6B
--contender ID    put a sentence-transformers model beside the variants (repeatable)
--demo            for strangers: nothing that is costly or lasts, visitors apart from one another
--auth-file FILE  a login for colleagues; --host 0.0.0.0 lets them reach the page
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from typing import Any

# Before gradio is imported: nothing leaves the machine unless the user asks for it.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from explorer import serving, zero
from explorer.__main__ import Parser, add_model_options, make_shelf
from explorer.errors import InputError
from explorer.hub import WITHOUT_SMOLLM2, has_smollm2
from explorer.variants import PUBLISHED, Shelf


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The flags."""
    parser = Parser(prog="app.py", description=(__doc__ or "").splitlines()[0])
    serving.add_options(parser)
    add_model_options(parser)
    return parser.parse_args(arguments)


def keep_below_one_folder() -> None:
    """Whatever visitors of a demo bring and make lies in one temporary folder, which goes with the app."""
    tempfile.tempdir = folder = tempfile.mkdtemp(prefix="pooling-explorer-demo-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    def ended(*_: Any) -> None:
        """Told to end: at once, whatever is being computed."""
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, ended)


def preload(shelf: Shelf) -> None:
    """Load the published model; whoever needs it later is told what went wrong if that fails."""
    with contextlib.suppress(InputError):
        shelf.load(PUBLISHED)


def main(arguments: list[str] | None = None) -> int:
    """Build the page and serve it until interrupted."""
    options = parse(arguments)
    try:
        login = serving.login_of(options)
        policy = serving.policy_of(options, login)
        if zero.is_lent() and options.device == "auto":
            options.device = "cpu"  # a GPU is there for single calls alone
        shelf = make_shelf(options)
    except InputError as error:
        print(f"app.py: {error}", file=sys.stderr)
        return 2
    for sentence in serving.warnings(options, policy):
        print(sentence, file=sys.stderr)
    if not has_smollm2():
        print(WITHOUT_SMOLLM2, file=sys.stderr)
    if policy.demo:
        keep_below_one_folder()
    from explorer.ui import build_app
    from explorer.ui.services import Services
    from explorer.ui.theme import CSS, theme

    services = Services(shelf, policy)
    # While the page is built and the browser opens it; earlier it would hold up the import of gradio.
    threading.Thread(target=preload, args=(shelf,), daemon=True).start()
    app = build_app(services)
    app.launch(
        prevent_thread_lock=True,
        server_name=serving.host_of(options),
        server_port=options.port,
        root_path=options.root_path,
        share=options.share,
        auth=login or None,
        mcp_server=not login,  # its tools could not log in
        enable_monitoring=False,
        state_session_capacity=1000,  # gradio forgets closed pages only when there are more
        theme=theme(),
        css=CSS,
        run_history=False,
        footer_links=["api", "settings"],
        max_file_size=policy.limits.upload,
    )
    services.warm()  # after the page is served: both want the processor
    app.block_thread()
    return 0


if __name__ == "__main__":
    sys.exit(main())
