"""Commands of the command line, a module each: click only; what they need is imported when they run."""
