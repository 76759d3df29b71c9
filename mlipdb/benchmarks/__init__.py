"""Benchmarks: what a potential is measured by, one file a kind.

A benchmark is found by name, among the built-in ones and those other packages declare as entry
points of the group ``mlipdb.benchmarks``.  Nothing is imported before it is asked for::

    from mlipdb.benchmarks import get_benchmark

    phonons = get_benchmark("phonons")
    result = phonons.run(calculator, reference, phonons.Protocol())
"""

from mlipdb.benchmarks.base import Benchmark, benchmark_names, get_benchmark

__all__ = ["Benchmark", "benchmark_names", "get_benchmark"]
