"""Top floor: Ray Serve deployments, sensors, ledger, metrics, page, command line."""
