"""Adversaries: a worker that attacks its host, and a host that attacks its worker.

The functions and the frames are lawful most of the time, so that the deep states are
reached, and then something else is written, closed, stopped or killed. What is random
comes of FERRY_SEED, and there are FERRY_CASES of them.
"""
