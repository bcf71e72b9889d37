"""Arrays and results -> plotly figures, one file a tab. Only this package imports plotly."""
