"""Where imagery and labels come from, one file a data source."""
