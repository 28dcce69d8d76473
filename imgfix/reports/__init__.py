"""Reports of an apply for programs and for people: the published model, its JSON and its HTML page."""
