"""Several controllers: workers that carry out what is written down in a database that they share."""
