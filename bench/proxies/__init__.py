"""The proxies that are measured, one module each."""
