"""The data plane: HTTP/1 reading and writing, listeners, upstream pools, the mitmproxy mode and addon, workers.

mitmproxy's package of addons imports every one of them, with Flask, LDAP and a clipboard: 15 MB in each worker, for
four that we use. So the package stands here without its own code, and gives the modules that are asked for
(``docs/adr/0015``).
"""

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Final

_ADDONS: Final = "mitmproxy.addons"


def _stand_in() -> None:
    spec = find_spec(_ADDONS)
    if spec is None or spec.submodule_search_locations is None:
        return  # another layout of mitmproxy: then its own import does what it does
    package = ModuleType(_ADDONS)
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = spec
    sys.modules[_ADDONS] = package


if _ADDONS not in sys.modules:
    _stand_in()
