"""What serves the repository itself: digests of code, recovery, documents, benchmarks."""
