"""The policy for Cedar: a ``forbid`` per rule, one ``permit``; parsed before, as is the set of entities."""

import cedarpy


def load(work):
    policies = cedarpy.PolicySet.from_str("\n".join([*map(_forbid, work["rules"]), _permit(work)]))
    entities = cedarpy.Entities.from_json_str("[]")

    def decide(message):
        command, app, number, hour = message
        request = {
            "principal": {"type": "App", "id": app},
            "action": {"type": "Action", "id": command},
            "resource": {"type": "Pbx", "id": "main"},
            "context": {"number": number, "hour": hour},
        }
        return cedarpy.is_authorized(request, policies, entities).allowed

    return decide


def _forbid(rule):
    command, app, prefix, begin, end = rule
    principal = f'principal == App::"{app}"' if app else "principal"
    when = f'context.number like "{prefix}*"'
    if begin >= 0:
        between = "&&" if begin < end else "||"
        when += f" && (context.hour >= {begin} {between} context.hour < {end})"
    return f'forbid({principal}, action == Action::"{command}", resource) when {{ {when} }};'


def _permit(work):
    apps = " || ".join(f'principal == App::"{app}"' for app in work["apps"])
    numbers = " || ".join(f'context.number like "{prefix}*"' for prefix in work["allowed"])
    return f"permit(principal, action, resource) when {{ ({apps}) && ({numbers}) }};"
