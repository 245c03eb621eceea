"""The bottom row: identifiers, epochs, errors, checksums, clocks, sizes.

Everything here may be imported by every package and imports none of them. `README.md` lists the
modules; anything that does not fit one of them belongs to the package that needs it.
"""
