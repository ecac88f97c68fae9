"""Public files from the network: fetched, verified, unpacked."""
