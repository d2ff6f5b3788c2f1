"""Entry point of `python tests/bench`; see `command`."""

from command import main

if __name__ == "__main__":
    main()
