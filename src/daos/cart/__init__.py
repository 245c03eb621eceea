"""CaRT: remote procedure calls between endpoints. See README.md."""
