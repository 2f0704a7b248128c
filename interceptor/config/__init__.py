"""``config.yaml`` made into :class:`~interceptor.settings.Settings`: read, checked, and every problem told at once.

What stands where:

``reading``   the small readers: addresses, URLs, networks, paths, secrets; each value with its place in problems
``known``     readers of what other parts know: countries, time zones, commands, certificates
``sections``  the tables of keys, one for each mapping of the file, and what is made of them
``checks``    what must hold between the parts: references, equal addresses, apps that cannot be told apart
``public``    the settings as they may be shown to anybody

Secrets never stand in the file: they are named by ``{env: NAME}`` or ``{file: PATH}``, or are given as a scrypt hash.
"""

from interceptor.config.public import public
from interceptor.config.sections import KEYS, read_config, read_settings

__all__ = ["KEYS", "public", "read_config", "read_settings"]
