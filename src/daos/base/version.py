"""Which version this is, for layers below the face; `daos.__version__` is the same text.

Source: ours; DAOS build/variables.go
"""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
