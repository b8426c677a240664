"""The command ``spectra``: one file for each subcommand."""
