"""The host's side of a benchmark: runs the harness somewhere, collects its report, draws it. It measures nothing."""
