"""The report as one HTML page: made of run folders alone, opened without a network."""
