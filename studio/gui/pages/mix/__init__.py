"""The mixing desk: adapters with faders become one new adapter."""
