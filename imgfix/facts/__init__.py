"""Facts: what a guest is, read once and never changed."""
