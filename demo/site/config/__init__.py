"""Settings, addresses and entry point of the demo shop."""
