"""The command line: arguments in, words out; one module per command."""
