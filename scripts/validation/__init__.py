"""Parts of ``scripts/validate_recommendations.py``: cells, sweeps, suggestions, tables."""
