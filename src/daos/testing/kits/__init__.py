"""Conformance kits: one class of tests per seam, run over every implementation, real and fake."""
