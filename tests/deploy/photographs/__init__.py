"""Photographs of the dashboards in Grafana's own components, see ``__main__``."""
