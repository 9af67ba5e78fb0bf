"""How do element-wise cells learn? Their exact gradient is carried along with the state (real-time recurrent learning).

cells      which cells there are, and who computes each
constants  what follows from a unit's radius and phase, once for each optimiser step
lru        complex diagonal units, with gates (GLRU) and without (LRU)
elstm      the LSTM whose units hear only themselves
codes      symbols as columns of numbers
learning   the rule: one event at a time, at once or when its target is known
order      in what order labels come, and how long one is waited for
layout     names and places of the weights, and how they begin

Sources: Zucchet et al. 2023; Elelimy et al. 2024; Irie et al. 2023; Williams & Zipser 1989.
"""
