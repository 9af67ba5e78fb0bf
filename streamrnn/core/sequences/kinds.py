"""What is predicted of a sequence; free of imports, so anybody may use it."""

LABEL, LABELS, TRANSCRIPT, SEQUENCE = 0, 1, 2, 3
"""One class or number for the whole; one for each step; symbols without alignment (CTC); another sequence."""

STEP = 4
"""No sequence at a time, but single steps, each with some of those behind it (``stepwise``)."""

KINDS = {"label": LABEL, "labels": LABELS, "transcript": TRANSCRIPT, "sequence": SEQUENCE}

BLANK = 0
"""The output of a transcript that says nothing; class k is output k + 1."""
