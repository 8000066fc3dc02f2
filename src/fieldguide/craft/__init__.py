"""Tools that families pick up and that know no family."""
