"""`occamctl` and `python -m occamctl`."""

from __future__ import annotations

import sys


def main() -> None:
    """Answer `--version` and `version` at once; everything else is the command line's."""
    if sys.argv[1:] in (["--version"], ["version"]):
        from occamctl import __version__

        print(f"occamctl {__version__}")
        return
    from occamctl.cli.main import main as command_line

    command_line()


if __name__ == "__main__":
    main()
