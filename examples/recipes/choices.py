"""What each best recipe asks for beyond the data; the default recipe asks for nothing."""

from typing import Any

DEFAULT: dict[str, Any] = {}
BEST: dict[str, dict[str, Any]] = {}
