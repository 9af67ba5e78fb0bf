"""The daemon around the learner: configuration, codec, brokers, loop, metrics and the HTTP endpoint."""
