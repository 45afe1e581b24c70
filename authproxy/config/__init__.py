"""What the operator wishes: the models of the configuration, and the only reader of configuration and policy files."""
