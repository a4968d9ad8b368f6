"""Ready-made strategies, one module per library, each behind the extra of the same name."""
