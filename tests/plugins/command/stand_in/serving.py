"""What any plugin needs to serve the engine: messages as values, and a server that ends with the engine."""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
from google.protobuf import json_format, struct_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import provider_pb2_grpc

from .values import Values, from_wire, to_wire

if TYPE_CHECKING:
    from collections.abc import Callable

# Every call holds a thread as long as it runs; the engine decides how many there are.
CALLS_AT_ONCE = 512


def values(struct: Any) -> Values:
    """Read the values of a message."""
    read: Values = from_wire(json_format.MessageToDict(struct))
    return read


def struct(values: Values) -> Any:
    """Write values into a message."""
    return json_format.ParseDict(to_wire(values), struct_pb2.Struct())


def serve(arguments: list[str], title: str, provider: Callable[[str | None], Any]) -> None:
    """Serve the engine whose address is among the arguments, until it ends.

    Args:
        arguments: of the program.
        title: what it says instead of a version: whoever asks looks for the official plugin.
        provider: makes the one that answers, from the engine's address.
    """
    if "--version" in arguments:
        sys.stdout.write(f"{title}\n")
        return
    # The engine asks it to end so, and waits for that; Python would first take everything down.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = os.getppid()
    engine = next((word for word in reversed(arguments) if not word.startswith("-")), None)
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=CALLS_AT_ONCE),
        options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider(engine), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)
