"""System configuration: extensions added, changed, shown, removed and listed, and (Ozeki 10) the address books."""

import html

from lxml import etree

from interceptor.simulator.answers import Answer, CommandError, Element
from interceptor.simulator.commands.base import BOTH, NEW, Asked, Command
from interceptor.simulator.core import Core, Generation
from interceptor.simulator.directory import EXTENSION_TYPES, Extension


def _read_config(asked: Asked) -> Extension:
    """The extension in ``ConfigXML``, which may be HTML-escaped inside; else code 702 (a broken type: 302)."""
    kind = asked.need("ExtensionType")
    if kind not in EXTENSION_TYPES:
        raise CommandError(702, kind)
    text = asked.need("ConfigXML").strip()
    if text.startswith("&lt;"):
        text = html.unescape(text)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(text.encode("utf-8", "surrogateescape"), parser)
    except (etree.XMLSyntaxError, ValueError):
        raise CommandError(702, kind) from None
    found = {str(child.tag).lower(): (child.text or "").strip() for child in root if isinstance(child.tag, str)}
    number = found.get("id", "")
    if not number:
        raise CommandError(702, kind)
    return Extension(
        id=number,
        type=kind,
        authorization_name=found.get("authorizationname", ""),
        password=found.get("password", ""),
        username=found.get("username", ""),
        enabled=found.get("enabled", "true").lower() != "false",
        user_id=found.get("userid", ""),
    )


async def add_config(core: Core, asked: Asked) -> Answer:
    """A new extension; one that exists is code 703."""
    extension = _read_config(asked)
    if core.directory.extension(extension.id) is not None:
        raise CommandError(703)
    if core.directory.is_full():
        raise CommandError(702, extension.type)
    core.directory.keep(extension)
    return Answer()


async def modify_config(core: Core, asked: Asked) -> Answer:
    """An extension that exists, of the same type; else code 702."""
    extension = _read_config(asked)
    known = core.directory.extension(extension.id)
    if known is None or known.type != extension.type:
        raise CommandError(702, extension.type)
    core.directory.keep(extension)
    return Answer()


async def get_config(core: Core, asked: Asked) -> Answer:
    """The payload comes before ``Code`` and ``Message`` here, and the password stands in clear."""
    number = asked.need("ExtensionId")
    extension = core.directory.extension(number)
    if extension is None:
        raise CommandError(701, number)
    children = (
        Element("AuthorizationName", extension.authorization_name),
        Element("Password", extension.password),
        Element("LastIPAddress", extension.last_ip_address or "0.0.0.0:0 (Udp)"),
        Element("UserAgentName", extension.user_agent_name),
        Element("Enabled", "true" if extension.enabled else "false"),
        Element("ID", extension.id),
        Element("UserID", extension.user_id),
    )
    known_type = (("knownType", f"{extension.type}ExtensionInfo"),)
    return Answer(payload=(Element("Config", children=children, attributes=known_type),), payload_first=True)


async def remove_config(core: Core, asked: Asked) -> Answer:
    """An extension that does not exist is code 701."""
    number = asked.need("ExtensionId")
    if core.directory.extension(number) is None:
        raise CommandError(701, number)
    core.directory.forget(number)
    return Answer()


async def list_extensions(core: Core, asked: Asked) -> Answer:
    """Every extension; Ozeki 10 shows more of each and can show one type only."""
    new = core.generation is Generation.OZEKI_10
    wanted = asked.get("Type") if new else ""
    summaries = []
    for extension in core.directory:
        if wanted and extension.type != wanted:
            continue
        children: tuple[Element, ...]
        if new:
            children = (
                Element("Id", f"{extension.id}@localhost"),
                Element("PhoneNumber", extension.id),
                Element("Type", extension.type),
                Element("State", "Registered" if extension.enabled else "Disabled"),
            )
        else:
            children = (Element("Id", extension.id), Element("Type", extension.type))
        summaries.append(Element("ExtensionSummary", children=children))
    return Answer(payload=(Element("Extensions", children=tuple(summaries)),))


async def list_extension_types(_core: Core, _asked: Asked) -> Answer:
    """The shape of this payload is an assumption: no copy of its page could be read."""
    types = tuple(Element("ExtensionType", kind) for kind in EXTENSION_TYPES)
    return Answer(payload=(Element("ExtensionTypes", children=types),))


async def list_address_book(_core: Core, _asked: Asked) -> Answer:
    """The simulated PBX keeps no address books: the list is empty."""
    return Answer(payload=(Element("Addressbooks"),))


COMMANDS = (
    Command("AddConfig", BOTH, add_config),
    Command("ModifyConfig", BOTH, modify_config),
    Command("GetConfig", BOTH, get_config),
    Command("RemoveConfig", BOTH, remove_config),
    Command("ListExtensions", BOTH, list_extensions),
    Command("ListExtensionTypes", BOTH, list_extension_types),
    Command("ListAddressbookNames", NEW, list_address_book),
    Command("ListAddressbookContacts", NEW, list_address_book),
)
