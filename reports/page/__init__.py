"""All reports on one page: committed data in, one HTML file out that needs no network."""
