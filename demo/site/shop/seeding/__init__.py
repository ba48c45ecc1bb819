"""Made-up content for the shop: the same on every machine."""
