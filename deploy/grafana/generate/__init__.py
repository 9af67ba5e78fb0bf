"""The three dashboards, written in Python with Grafana's own typed builders.

``python -m deploy.grafana.generate`` from the root of the repository writes ``deploy/grafana/dashboards``; the files
are committed, so nobody who runs streamrnn needs this package or the SDK.

- ``promql``: the selectors and the few forms of expression that panels are made of.
- ``panels``: one function for each kind of panel, with what all panels of the kind share.
- ``frame``: what the dashboards have in common: variables, annotations, links, and the grid that panels are placed on.
- ``overview``, ``learning``, ``pipeline``: one dashboard each; ``recovery`` is the lower half of the last,
  ``symbols`` and ``sequences`` the last rows of *learning*.
"""
