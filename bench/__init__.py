"""Measures Interceptor side by side with other proxies: ``python -m bench``; ``README.md`` is the manual."""
