"""Commands and options of the command line, one noun a module. click only; what is heavy is imported when called."""
