"""``python -m streamrnn`` is the command ``streamrnn``.

For ``-m`` Python puts the working directory in front of its path. This package is found by then; nothing else shall be
looked for there.
"""

import sys

if not sys.flags.safe_path:
    del sys.path[0]

from streamrnn.cli import main

main()
