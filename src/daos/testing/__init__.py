"""Shipped fakes and conformance kits: what a test needs in place of hardware. See README.md."""
