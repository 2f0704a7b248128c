"""Every verb of the api extension set, of both generations, in one table."""

from interceptor.simulator.ozml.session import VerbHandler
from interceptor.simulator.ozml.verbs import alarm, calling, flow, messages, sound, storage, user_input

ALL: tuple[VerbHandler, ...] = (
    *sound.VERBS,
    *user_input.VERBS,
    *flow.VERBS,
    *calling.VERBS,
    *messages.VERBS,
    *storage.VERBS,
    *alarm.VERBS,
)

BY_NAME = {handler.name.lower(): handler for handler in ALL}
