"""What the pool costs, as ratios that anyone can measure again: `python -m benchmarks`."""
