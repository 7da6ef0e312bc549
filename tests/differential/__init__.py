"""The truth about an ABI is what a compiler does: ours against Clang's.

Hypothesis invents C functions (``signatures``). Each becomes a C function that writes
down what it received and returns a constant (``source``). A batch of them becomes one
library for the ABI in question (``compiler``, ``targets``). It is run for real, under
this CPU, qemu or Wine, and every byte that arrived on either side is compared
(``check``).

    FERRY_CASES   functions for each ABI; 200 if not set
    FERRY_SEED    where Hypothesis starts; 0 if not set, so that each run is the same

None of this was written with sight of how libferry makes a call.
"""
