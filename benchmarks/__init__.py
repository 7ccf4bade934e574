"""The checker beside others, on one model written for each of them; see README.md."""
