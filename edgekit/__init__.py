"""The host's side: projects, bundles, deployment, benchmarks, and the ``edgekit`` command line."""
