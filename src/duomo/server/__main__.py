"""`python -m duomo.server`: the web process."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import socket
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from duomo import settings
from duomo.errors import ConfigError
from duomo.server.app import create_app


class WebServer(uvicorn.Server):
    """Ends the endless answers first when it is told to stop; uvicorn alone would wait for them."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print("ready", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app = self.config.app
        assert isinstance(app, FastAPI)
        if hasattr(app.state, "site"):
            app.state.site.close_streams()
        await super().shutdown(sockets)


def web_server(wanted: settings.Settings) -> WebServer:
    return WebServer(
        uvicorn.Config(
            create_app(wanted),
            host=wanted.host,
            port=wanted.port,
            log_config=None,
            access_log=False,  # edge.py writes one line a request, without query strings
            server_header=False,
            ws="none",
            timeout_keep_alive=20,
            timeout_graceful_shutdown=5,
            h11_max_incomplete_event_size=64 * 1024,
        )
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m duomo.server", description="The web process of Duomo.")
    parser.add_argument("--home", type=Path, help="where all state lies (DUOMO_HOME, default ~/.duomo)")
    parser.add_argument("--port", type=int, help="DUOMO_PORT, default 8080")
    parser.add_argument("--host", help="DUOMO_HOST, default 127.0.0.1")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    for sentence in settings.unknown_variables(os.environ):
        logging.getLogger("duomo.server").warning(sentence)
    try:
        server = web_server(settings.load(os.environ, home=given.home, port=given.port, host=given.host))
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again after it has stopped in order
            server.run()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
