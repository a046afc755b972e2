"""Commands that measure. Run one from the checkout's root: `python -m benchmarks.sync`."""
