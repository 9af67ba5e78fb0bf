"""The numeric core: NumPy and Numba only; it knows nothing of Kafka, River, files or threads.

``jit`` decorates, ``layout`` names the weights, ``activations``, ``cells``, ``heads``, ``optim`` and ``scaler`` do the
arithmetic, ``tbptt`` learns one window and ``walk`` goes through a block of records in order.
"""
