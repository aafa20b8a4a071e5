"""The comparison ./dev bench: scenarios, contestants, measuring, results and the report page."""
