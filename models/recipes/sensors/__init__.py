"""Status, temperature anomaly and humidity of climate sensors: README.md."""
