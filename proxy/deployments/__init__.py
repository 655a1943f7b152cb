"""Which deployments there are: providers and models that are configured or found, under which names; and who holds what."""
