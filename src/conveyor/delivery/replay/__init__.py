"""A model's history played again under other policies: the same decisions and the same trainings as live."""
