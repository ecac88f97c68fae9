"""What a configured run costs, counted on networks without weights, before anything runs."""
