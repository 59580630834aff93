"""Numbers: counted, summed over processes, shown."""
