"""`occamctl` and `python -m occamctl`."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Run the command line. Ctrl-C ends it with 130 at any moment, also while its modules are imported."""
    try:
        _answer()
    except BaseException as end:
        if not _interrupted(end):
            raise
        from occamctl.errors import INTERRUPTED

        print("interrupted; run the same command again to go on", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)  # threads that speak to hosts end with their connections; nobody waits for them
    finally:
        # All is done and said. Python gives SIGINT back to the system while it takes itself down, and the signal
        # would end a command that succeeded; one that is ignored stays so (Py_FinalizeEx, _PySignal_Fini).
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupted(end: BaseException | None) -> bool:
    """Whether it is Ctrl-C, or an error that Ctrl-C became: a class that is being made wraps it (until Python 3.12)."""
    while isinstance(end, Exception):
        end = end.__cause__ or end.__context__
    return isinstance(end, KeyboardInterrupt)


def _answer() -> None:
    """Answer `--version` and `version` at once; everything else is the command line's."""
    if sys.argv[1:] in (["--version"], ["version"]):
        from occamctl import __version__

        print(f"occamctl {__version__}")
        return
    from occamctl.cli.main import main as command_line

    command_line()


if __name__ == "__main__":
    main()
