"""``python -m streamrnn`` is the command ``streamrnn``."""

from streamrnn.cli import main

main()
