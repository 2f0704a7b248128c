"""The policy for pycasbin: a line of policy per rule, a matcher with two functions of ours, deny overrides."""

import logging

import casbin

_MODEL = """
[request_definition]
r = command, app, number, hour
[policy_definition]
p = command, app, prefix, begin, end, eft
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = (p.command == "*" || r.command == p.command) && (p.app == "*" || r.app == p.app) && begins(r.number, p.prefix) && within(r.hour, p.begin, p.end)
"""  # noqa: E501 - a matcher is one line


def load(work):
    logging.disable(logging.INFO)
    model = casbin.Model()
    model.load_model_from_text(_MODEL)
    enforcer = casbin.Enforcer(model)
    enforcer.add_function("begins", str.startswith)
    enforcer.add_function("within", _within)
    lines = [
        [command, app or "*", prefix, str(begin), str(end), "deny"]
        for command, app, prefix, begin, end in work["rules"]
    ]
    lines += [["*", app, prefix, "-1", "-1", "allow"] for app in work["apps"] for prefix in work["allowed"]]
    enforcer.add_policies(lines)
    return lambda message: enforcer.enforce(*message)


def _within(hour, begin, end):
    begin, end = int(begin), int(end)
    return begin < 0 or (begin <= hour < end if begin < end else hour >= begin or hour < end)
