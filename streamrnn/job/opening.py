"""Opens what a configuration says of where its checkpoints are; the one place that knows which kinds there are.

What its log offers is opened by ``streamrnn.daemon.opening``: a job knows values of a broker, not brokers.
"""

from __future__ import annotations

from streamrnn.job.config import Config
from streamrnn.storage.blobs import Blobs, DirectoryBlobs
from streamrnn.storage.listing import Place
from streamrnn.storage.names import folder_of


def open_blobs(config: Config) -> Blobs:
    """Where the job's checkpoints are kept, beside those of others."""
    return DirectoryBlobs(config.checkpoint.directory, int(config.checkpoint.mode, 8))


def of_config(config: Config) -> Place:
    """Where the checkpoints of the job itself are."""
    return Place(open_blobs(config), f"{folder_of(config.job)}/")
