"""Open a folder in the browser: the body of `explaind explore`."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from explaind.errors import ConfigError

__all__ = ["explore"]


def explore(
    path: Path,
    open_problem: Callable[[Path], Callable[[], Any] | None],
    *,
    port: int,
    show: bool,
    cache: Path | None,
) -> None:
    """Serve the page until the process is interrupted.

    Args:
        path: results of the workflow, a recorded run, or a store of scores.
        open_problem: recording → what opens its model, loss and data; None where that is not known.
        port: of the page; 0 for any that is free.
        show: open a browser?
        cache: folder for what is computed; None: the user's cache.

    Raises:
        ConfigError: the extra is not installed.
        QueryError: there is nothing to explore, or the port is taken.
    """
    try:
        import plotly  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "The page is drawn by plotly, which is not installed.",
            expected="the extra explore",
            got=str(error),
            remedy="pip install 'explaind[explore]', or plotly alone.",
        ) from error
    import pooch

    from explaind.explore.questions import Desk
    from explaind.explore.requests import Page
    from explaind.explore.server import make_server
    from explaind.explore.sources import discover

    folder = discover(path, open_problem)
    kept = cache if cache is not None else Path(pooch.os_cache("explaind")) / "explore"
    server, address = make_server(Page(folder, Desk(kept)), port)
    print(f"Exploring {folder.root}: {len(folder.sources)} to look at. The page is at\n\n    {address}\n")
    print(
        "Keep this address to yourself: whoever has it on this machine sees the results. Ctrl-C ends it.",
        flush=True,
    )
    if show:
        webbrowser.open(address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("Closed.")
    finally:
        server.server_close()
