"""The policy for zen-engine: a decision table, first row that fits; compiled before."""

import json

import zen


def load(work):
    rows = [
        {
            "_id": str(place),
            "command": f'"{command}"',
            "app": f'"{app}"' if app else "",
            "number": f'startsWith($, "{prefix}")',
            "hour": _hours(begin, end),
            "allow": "false",
        }
        for place, (command, app, prefix, begin, end) in enumerate(work["rules"])
    ]
    rows.append(
        {
            "_id": "allowed",
            "command": "",
            "app": ", ".join(f'"{app}"' for app in work["apps"]),
            "number": " or ".join(f'startsWith($, "{prefix}")' for prefix in work["allowed"]),
            "hour": "",
            "allow": "true",
        }
    )
    table = {
        "hitPolicy": "first",
        "inputs": [{"id": name, "name": name, "field": name} for name in ("command", "app", "number", "hour")],
        "outputs": [{"id": "allow", "name": "allow", "field": "allow"}],
        "rules": rows,
    }
    nodes = [
        {"id": "in", "name": "in", "type": "inputNode", "position": {"x": 0, "y": 0}},
        {"id": "table", "name": "table", "type": "decisionTableNode", "position": {"x": 1, "y": 0}, "content": table},
        {"id": "out", "name": "out", "type": "outputNode", "position": {"x": 2, "y": 0}},
    ]
    edges = [
        {"id": "a", "type": "edge", "sourceId": "in", "targetId": "table"},
        {"id": "b", "type": "edge", "sourceId": "table", "targetId": "out"},
    ]
    decision = zen.ZenEngine().create_decision(json.dumps({"nodes": nodes, "edges": edges}))

    def decide(message):
        command, app, number, hour = message
        given = {"command": command, "app": app, "number": number, "hour": hour}
        return decision.evaluate(given)["result"].get("allow", False)

    return decide


def _hours(begin, end):
    if begin < 0:
        return ""
    return f"[{begin}..{end})" if begin < end else f">= {begin} or < {end}"
