"""The version, in a file of its own, so that whoever needs it need not import the package's exports."""

__version__ = "0.1.0"
