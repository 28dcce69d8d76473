"""Commands with a module of their own: click and nothing heavy; `imgfix.cli` registers them."""
