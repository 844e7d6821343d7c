"""How a peer is driven: it warms up, says that it is ready, and measures once for every line it is sent.

So `run.py` can let peers and `visa bench` take turns, with every program loaded once. A peer whose library is not
installed says so and ends.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable

# Libraries print what they like to standard output; the protocol keeps the real one for itself.
_OUT = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

THREADS = int(os.environ.get("PEERS_THREADS", "2"))

# One measurement: the name of the row of `visa bench` that it stands beside, its value, its unit, and in what it
# differs, if it does.
Row = tuple[str, float, str, str]


def say(**fields) -> None:
    _OUT.write(json.dumps(fields) + "\n")


def need(*modules: str) -> list:
    """The modules, or the end of this peer."""
    found = []
    for module in modules:
        try:
            found.append(importlib.import_module(module))
        except ImportError as error:
            say(missing=f"{module} ({error})")
            sys.exit(0)
    return found


def ready(peer: str) -> None:
    say(ready=peer)


def wait() -> bool:
    """Waits for the next turn; false when there is none."""
    return bool(sys.stdin.readline())


def answer(rows: Iterable[Row]) -> None:
    for name, value, unit, how in rows:
        say(name=name, value=value, unit=unit, how=how)
    say(done=True)


def serve(peer: str, measure: Callable[[], Iterable[Row]]) -> None:
    """Warms up, then measures as often as asked."""
    list(measure())
    ready(peer)
    while wait():
        answer(measure())


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak_mb() -> float:
    """The most memory this process ever held, in MB of a million bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
