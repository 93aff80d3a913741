"""What a proposal and a vote reveal: mechanisms, budgets, and a record of every spend."""

from __future__ import annotations

__all__: list[str] = []
