"""`occamctl` and `python -m occamctl`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line. Ctrl-C ends it with 130 at any moment, also while its modules are imported."""
    try:
        _answer()
    except KeyboardInterrupt:
        from occamctl.errors import INTERRUPTED

        print("interrupted; run the same command again to go on", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)  # threads that speak to hosts end with their connections; nobody waits for them


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
