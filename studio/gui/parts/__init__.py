"""Parts of pages that know runs, models or adapters and that several pages share."""
