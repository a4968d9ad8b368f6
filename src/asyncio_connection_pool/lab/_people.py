"""What people are told when they have asked for something that can't be done."""

from __future__ import annotations


class Complaint(Exception):  # noqa: N818 - it is addressed to a person
    """One line that says what is wrong, and what to do."""
