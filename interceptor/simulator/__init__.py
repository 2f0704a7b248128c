"""A simulated PBX and simulated business applications: for the demo, for tests, and for users' own scenarios.

async with SimulatedApp(doors=[Door(Menu(says="Press 1"))]) as app, SimulatedPbx(clock=VirtualClock()) as pbx:
    pbx.subscriptions.incoming = f"{app.url}/pbx"
    call = pbx.dial("+36201234567", "5000")
    await pbx.wait_for_end(call)
"""

from interceptor.simulator.business_app import SimulatedApp
from interceptor.simulator.calls import Call, CallState, Party
from interceptor.simulator.client import CommandAnswer, CommandClient
from interceptor.simulator.clock import Clock, RealClock, VirtualClock
from interceptor.simulator.core import Generation
from interceptor.simulator.directory import API, SIP, Extension, Phone
from interceptor.simulator.pages import Door, Fixed, Menu, PinCheck, RoutingTable, Row, document, verb
from interceptor.simulator.pbx import SimulatedPbx

__all__ = [
    "API",
    "SIP",
    "Call",
    "CallState",
    "Clock",
    "CommandAnswer",
    "CommandClient",
    "Door",
    "Extension",
    "Fixed",
    "Generation",
    "Menu",
    "Party",
    "Phone",
    "PinCheck",
    "RealClock",
    "RoutingTable",
    "Row",
    "SimulatedApp",
    "SimulatedPbx",
    "VirtualClock",
    "document",
    "verb",
]
