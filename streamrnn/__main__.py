"""``python -m streamrnn`` is the command ``streamrnn``.

For ``-m`` Python puts the working directory in front of its path, and what it looks for before it arrives here (this
package, ``sitecustomize``, what the package's own first lines import) it looks for there. Only ``python -P -m
streamrnn`` leaves that out; here it ends for everything that is imported later.
"""

import sys

if not sys.flags.safe_path:
    del sys.path[0]

from streamrnn.cli import main

main()
