"""The report as one HTML page, built from run folders alone and readable offline."""
