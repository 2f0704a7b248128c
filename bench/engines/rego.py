"""The policy in Rego for regopy (rego-cpp), indexed by hand: rules stand under their prefix, and the beginnings of the
number are looked up. A policy that goes through all rules takes many times as long."""

import regopy

_POLICY = """
package bench

denied if {
    some length in [7, 8, 9, 10, 11, 12]
    prefix := substring(input.number, 0, length)
    some rule in object.get(data.rules[input.command], prefix, [])
    rule.app in ["", input.app]
    within(rule.begin, rule.end)
}

within(begin, _) if begin < 0

within(begin, end) if {
    begin <= input.hour
    input.hour < end
}

within(begin, end) if {
    begin > end
    input.hour >= begin
}

within(begin, end) if {
    begin > end
    input.hour < end
}

allow if {
    input.app in data.apps
    some prefix in data.allowed
    startswith(input.number, prefix)
    not denied
}
"""


def load(work):
    rules = {}
    for command, app, prefix, begin, end in work["rules"]:
        rules.setdefault(command, {}).setdefault(prefix, []).append({"app": app, "begin": begin, "end": end})
    rego = regopy.Interpreter()
    rego.add_data({"rules": rules, "apps": work["apps"], "allowed": work["allowed"]})
    rego.add_module("bench", _POLICY)

    def decide(message):
        command, app, number, hour = message
        rego.set_input({"command": command, "app": app, "number": number, "hour": hour})
        return str(rego.query("data.bench.allow")) == '{"expressions":[true]}'

    return decide
