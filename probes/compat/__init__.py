"""Interfaces of other packages on top of ours, so that existing scripts run after one changed import."""
