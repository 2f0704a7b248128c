"""What an API extension does for an app: calls, text messages, e-mails, alarms, and the inner messages of Ozeki 10."""

import re

from interceptor.simulator.answers import Answer, CommandError, Element
from interceptor.simulator.calls import CallState
from interceptor.simulator.commands.base import BOTH, NEW, Asked, Command
from interceptor.simulator.core import Core, Generation, Message, Order
from interceptor.simulator.ozml.document import child, decode
from interceptor.simulator.ozml.session import Session
from interceptor.values import Verb

SMS_SECONDS = 1.0
ALARM_SECONDS = 2.0


def api_extension(core: Core, asked: Asked) -> str:
    """The extension that acts: the one named, or the first there is; else code 401."""
    named = asked.get("ApiExtension")
    if named.upper() == "NULL":
        named = ""
    number = named or core.directory.first_api_extension()
    if not number or not core.directory.is_run_by_api(number):
        raise CommandError(401, named or "NULL")
    return number


async def call(core: Core, asked: Asked) -> Answer:
    """Answers at once, or, where the PBX is set so, when somebody picked up or nobody did (402)."""
    asked.need("Dialed")
    extension = api_extension(core, asked)
    inline = asked.get("ResponseOzML")
    verbs = decode(inline.encode("utf-8", "surrogateescape")) if inline else None
    if inline and verbs is None:
        raise CommandError(302, "ResponseOzML", asked.name)
    url = asked.address("Url")
    optional = core.generation is Generation.OZEKI_10
    placed = core.place(
        Order(
            caller=extension,
            dialled=asked.need("Dialed"),
            caller_id=asked.get("CallerId", extension),
            caller_name=asked.get("CallerDisplayName", extension),
            connected_url=None if optional and not url else url,
            error_url=asked.address("ErrorUrl"),
            finished_url=asked.address("FinishedUrl") if optional else "",
            ring_seconds=float(asked.number("RingTime", 90)),
            verbs=verbs,
        )
    )
    if core.call_waits_for_pickup:
        await core.picked_up(placed)
        if placed.answered_at is None:
            raise CommandError(402, placed.dialled, placed.state.value)
    if placed.state is CallState.ERROR:
        raise CommandError(402, placed.dialled, placed.state.value)
    return Answer()


async def call_setup(core: Core, asked: Asked) -> Answer:
    """Connect two numbers (Ozeki 10)."""
    core.place(Order(caller=asked.need("Caller"), dialled=asked.need("Callee"), error_url=asked.address("ErrorUrl")))
    return Answer()


async def request(core: Core, asked: Asked) -> Answer:
    """A call that brings its OzML along: OnSetup runs when it is answered, OnError when it is not (Ozeki 10)."""
    inline = asked.get("RequestOzML")
    verbs = decode(inline.encode("utf-8", "surrogateescape")) if inline else ()
    if verbs is None:
        raise CommandError(302, "RequestOzML", asked.name)
    whole = verbs[0] if len(verbs) == 1 and verbs[0].name.lower() == "request" else Verb("Request", children=verbs)
    return place_request(core, asked, whole)


def place_request(core: Core, asked: Asked, whole: Verb) -> Answer:
    """Place the call of a Request; verbs that stand in neither OnSetup nor OnError run as if in OnSetup."""
    on_setup, on_error = child(whole, "OnSetup", "OnConnected", "RequestOzML"), child(whole, "OnError")
    plain = tuple(verb for verb in whole.children if not verb.name.lower().startswith("on"))
    named = Asked(asked.name, {"apiextension": asked.get("ExtensionAddress")})
    core.place(
        Order(
            caller=api_extension(core, named),
            dialled=asked.need("DialedAddress"),
            caller_id=asked.get("CallerPhoneNumber"),
            caller_name=asked.get("CallerDisplayName"),
            connected_url="",
            ring_seconds=float(asked.number("RingTime", 90)),
            verbs=on_setup.children if on_setup else plain,
            error_verbs=on_error.children if on_error else (),
        )
    )
    return Answer()


async def send_sms(core: Core, asked: Asked) -> Answer:
    """A recipient that is no number is not found (501)."""
    sender = asked.get("Sender")
    if core.generation is Generation.PHONE_SYSTEM:
        sender = sender or api_extension(core, asked)
    recipient, text = asked.need("Recipient"), asked.need("Message")
    if not re.fullmatch(r"\+?[0-9 ()/-]{3,20}", recipient):
        raise CommandError(501)
    sms_id = core.new_message_id()
    report = asked.address("DeliveryReportURL") or asked.address("DelivaryReportURL")
    core.spawn(_deliver_sms(core, Message(sender, recipient, text), sms_id, report))
    return Answer(payload=(Element("SmsId", sms_id),))


async def _deliver_sms(core: Core, sms: Message, sms_id: str, report: str) -> None:
    await core.clock.sleep(SMS_SECONDS)
    core.deliver("sms", sms_id, sender=sms.sender, recipient=sms.recipient, text=sms.text)
    if report:
        fields = (("X-SmsId", sms_id), ("X-Recipient", sms.recipient), ("X-Status", "Delivered"))
        told = await core.notifier.tell("SMSDeliveryReport", report, fields)
        await Session(core, None, None).run(told.verbs)


async def send_email(core: Core, asked: Asked) -> Answer:
    """The recipient must look like an address (501)."""
    new = core.generation is Generation.OZEKI_10
    if not new:
        api_extension(core, asked)
    recipient = asked.need("Recipient")
    text = asked.need("Message") if new else asked.get("Message")
    if "@" not in recipient:
        raise CommandError(501)
    email_id = core.new_message_id()
    core.deliver("email", email_id, sender=asked.get("Sender"), recipient=recipient, text=asked.get("Subject") or text)
    return Answer(payload=(Element("EmailId", email_id),) if new else ())


async def send_alarm(core: Core, asked: Asked) -> Answer:
    """An Ademco Contact ID report over a call; the result is told at ``ResultUrl``."""
    number = asked.need("PhoneNumber")
    for parameter, pattern in (
        ("AccountNumber", r"[0-9A-Fa-f]{4}"),
        ("EventCode", r"[0-9A-Fa-f]{1,3}"),
    ):
        if not re.fullmatch(pattern, asked.need(parameter)):
            raise CommandError(302, parameter, asked.name)
    for parameter, digits in (("PartitionNumber", 2), ("ZoneNumber", 3)):
        if not re.fullmatch(rf"[0-9A-Fa-f]{{1,{digits}}}", asked.need(parameter)):
            raise CommandError(302, parameter, asked.name)
    if asked.get("EventQualifier", "NewEvent") not in {"NewEvent", "NewRestore", "StatusReport"}:
        raise CommandError(302, "EventQualifier", asked.name)
    extension = api_extension(core, asked)
    if core.directory.phone(number) is None:
        raise CommandError(402, number, "NotFound")
    core.spawn(_report_alarm(core, extension, asked))
    return Answer()


async def _report_alarm(core: Core, extension: str, asked: Asked) -> None:
    await core.clock.sleep(ALARM_SECONDS)
    account, event = asked.get("AccountNumber"), asked.get("EventCode")
    number = asked.get("PhoneNumber")
    core.deliver("alarm", core.new_message_id(), sender=extension, recipient=number, text=f"{account} {event}")
    if url := asked.address("ResultUrl"):
        told = await core.notifier.tell("", url, (("X-Result", "Success"), ("X-AccountNumber", account)))
        await Session(core, None, None).run(told.verbs)


async def send_message(core: Core, asked: Asked) -> Answer:
    """Leave a message inside the PBX (Ozeki 10)."""
    recipient = asked.get("Recipient") or asked.need("ToConnection")
    text = asked.need("Message")
    message_id = core.new_message_id()
    core.inbox.append(Message(asked.get("Sender"), recipient, text))
    core.message_arrived.set()
    core.deliver("message", message_id, sender=asked.get("Sender"), recipient=recipient, text=text)
    return Answer(payload=(Element("MessageId", message_id),))


async def receive_message(core: Core, _asked: Asked) -> Answer:
    """Take the oldest message out; none is no error, and a command never waits for one (Ozeki 10)."""
    if not core.inbox:
        return Answer(payload=(Element("Messages"),))
    message = core.inbox.popleft()
    children = (
        Element("Sender", message.sender),
        Element("Recipient", message.recipient),
        Element("Text", message.text),
    )
    return Answer(payload=(Element("Messages", children=(Element("Message", children=children),)),))


COMMANDS = (
    Command("Call", BOTH, call),
    Command("SendSms", BOTH, send_sms),
    Command("SendEmail", BOTH, send_email),
    Command("SendAlarmNotification", BOTH, send_alarm),
    Command("CallSetup", NEW, call_setup),
    Command("SendMessage", NEW, send_message),
    Command("SendMsg", NEW, send_message),
    Command("ReceiveMessage", NEW, receive_message),
    Command("WaitForMsg", NEW, receive_message),
    Command("Request", NEW, request),
)
