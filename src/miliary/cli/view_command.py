"""`miliary view`: the local viewer."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import click


@click.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--port", default=0, type=click.IntRange(0, 65535), metavar="N", help="Any free by default.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Numeric address to listen on. Another than this machine's own lets others on the network in.",
)
@click.option("--reader", default="", metavar="AB", help="Your initials, for corrections.")
@click.option(
    "--case", "only_case", is_flag=True, help="Fill in the case of STUDY, which may be empty, in a form."
)
@click.option("--no-browser", is_flag=True, help="Do not open the browser.")
def view(study: Path, *, port: int, host: str, reader: str, only_case: bool, no_browser: bool) -> None:
    """Look at saved results, and correct them; fill in the case.

    STUDY is a study folder, or what 'miliary ct' wrote for one scan. Corrections are appended to
    corrections.jsonl; 'miliary ct --apply-corrections' measures anew with them.
    """
    show_study(study, port=port, host=host, reader=reader, opens_browser=not no_browser, only_case=only_case)


def show_study(
    study: Path,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    reader: str = "",
    opens_browser: bool = True,
    only_case: bool = False,
) -> None:
    """Serve the viewer of a study until it is interrupted."""
    # What serves for hours collects its garbage again, see `keep_freed_memory`.
    gc.enable()
    from miliary.viewer.server import open_server

    server = open_server(study, host=host, port=port, reader=reader, only_case=only_case)
    print(f"{server.url}\n", flush=True)
    print("The address is for you alone; Ctrl-C ends the viewer.", file=sys.stderr, flush=True)
    if opens_browser:
        import webbrowser

        webbrowser.open(server.url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
