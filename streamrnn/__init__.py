"""streamrnn: recurrent networks that learn online from Kafka, one hidden state per stream."""

__version__ = "0.1.0"
