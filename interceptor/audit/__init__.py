"""What an audit record says and what it hides: pure, without files. ``journal/`` keeps the records."""
