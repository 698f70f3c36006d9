"""Files that show and watch a running server: Prometheus' rules, Grafana's dashboards. Made from code; no Ray here."""
