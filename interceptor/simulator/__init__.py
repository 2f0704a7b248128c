"""A simulated PBX and simulated business applications: for the demo, for tests, and for users' own scenarios."""
