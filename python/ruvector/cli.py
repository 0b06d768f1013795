"""The command ``ruvector``."""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from threading import Event
from typing import TYPE_CHECKING, Any

from ruvector import __version__

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

__all__ = ["main"]

_ABOUT = """\
Serve indexes and the collections of a lake to clients of Arrow Flight, until SIGTERM or Ctrl-C: calls that
are under way come to their end then, a second signal cuts them off.

  ruvector serve --index docs=docs.rbpx --listen grpc://0.0.0.0:8815
"""
_EXIT = """\
exit codes: 0 after a stop, 1 if calls were cut off by it, 2 for what cannot be meant or is not there.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command, and return its exit code.

    Parameters
    ----------
    arguments
        What stands behind the command's name. Default: what this process was started with.
    """
    parser = ArgumentParser(prog="ruvector", description="Nearest-neighbour search, Arrow in and Arrow out.")
    parser.add_argument("--version", action="version", version=f"ruvector {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser(
        "serve",
        help="serve indexes and a lake by Arrow Flight",
        description=_ABOUT,
        epilog=_EXIT,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add = serve.add_argument
    add(
        "--listen",
        metavar="URL",
        default="grpc://127.0.0.1:8815",
        help="grpc://host:port, or grpc+tls://host:port; port 0 takes a free one (default: %(default)s)",
    )
    add(
        "--index",
        metavar="NAME=PATH",
        action="append",
        default=[],
        help="an index file and its name; may be repeated",
    )
    add("--lake", metavar="TOML", help="a lake whose collections are served (see ruvector.flight.config)")
    add("--folder", metavar="DIR", help="where indexes that clients build are saved (default: nowhere)")
    add("--tls-cert", metavar="PEM", help="the server's certificate, and those between it and its root")
    add("--tls-key", metavar="PEM", help="its key")
    add("--client-roots", metavar="PEM", help="roots that certificates of clients must come from")
    add("--tokens", metavar="TOML", help="who may call, and what they may do (default: all of it, by all)")
    add("--metrics", metavar="HOST:PORT", help="where Prometheus reads figures over HTTP")
    add("--log", metavar="PATH", help="a line of JSON for each call: stderr, or a file")
    add("--threads", metavar="N", type=int, help="threads that speak with clients (default: one per core)")
    add(
        "--drain",
        metavar="SECONDS",
        type=float,
        default=10.0,
        help="how long calls may go on after a stop (default: %(default)s)",
    )
    add("--sql", action="store_true", help="answer Flight SQL, too (needs the extra duckdb)")
    asked = parser.parse_args(arguments)
    return _serve(serve, asked)


def _serve(parser: ArgumentParser, asked: Namespace) -> int:
    from ruvector import flight
    from ruvector.errors import RuVectorError
    from ruvector.flight.config import read_lake, read_tokens

    indexes: dict[str, str] = {}
    for each in asked.index:
        name, separator, path = each.partition("=")
        if not (name and separator and path):
            parser.error(f"--index: expected NAME=PATH, got {each!r}")
        if name in indexes:
            parser.error(f"--index: {name!r} is named twice")
        indexes[name] = path
    if (asked.tls_cert is None) != (asked.tls_key is None):
        parser.error("--tls-cert and --tls-key: expected both or none, got one")
    stopping = Event()
    options: dict[str, Any] = {"sql": True} if asked.sql else {}
    try:
        server = flight.serve(
            indexes,
            asked.listen,
            lake=None if asked.lake is None else read_lake(asked.lake),
            folder=asked.folder,
            tls=None if asked.tls_cert is None else (asked.tls_cert, asked.tls_key),
            client_roots=asked.client_roots,
            tokens=() if asked.tokens is None else read_tokens(asked.tokens),
            metrics=asked.metrics,
            log=asked.log,
            threads=asked.threads,
            drain=asked.drain,
            **options,
        )
    except RuVectorError as error:
        print(f"ruvector serve: {error}", file=sys.stderr)  # noqa: T201 - what a command says
        return 2

    def stop(number: int, frame: object) -> None:
        del frame
        # The next one ends the process.
        signal.signal(number, signal.SIG_DFL)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    print(f"listening on {server.location}", flush=True)  # noqa: T201 - what a command says
    stopping.wait()
    return 0 if server.stop() else 1
