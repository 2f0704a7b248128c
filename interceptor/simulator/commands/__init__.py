"""Every command that the simulated PBX carries out, of both generations, in one table."""

from interceptor.simulator.answers import Answer, CommandError
from interceptor.simulator.commands import control, extension, history, system
from interceptor.simulator.commands.base import Asked, Command
from interceptor.simulator.core import Core

COMMANDS: tuple[Command, ...] = (*extension.COMMANDS, *control.COMMANDS, *system.COMMANDS, *history.COMMANDS)

_BY_NAME = {command.name.lower(): command for command in COMMANDS}


async def carry_out(core: Core, asked: Asked) -> Answer:
    """Carry out one command; never raises for what was asked."""
    try:
        if not asked.name:
            raise CommandError(302, "command", "")
        command = _BY_NAME.get(asked.name.lower())
        if command is None or core.generation not in command.generations:
            raise CommandError(301, asked.name)
        return await command.carry(core, asked)
    except CommandError as error:
        return error.answer
