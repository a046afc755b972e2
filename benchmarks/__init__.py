"""Benchmarks. Run each from the root of the checkout, such as `python -m benchmarks.sync`."""
