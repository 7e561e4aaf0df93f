"""What the benches do around the engines: cases, data, workers, rounds and reports."""
