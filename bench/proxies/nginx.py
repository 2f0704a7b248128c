"""nginx: plain ``proxy_pass``, and with the policy as exact maps over prefixes of each length."""

import subprocess

from bench.backend import find_nginx, nginx_command
from bench.contestant import Contestant, Launch, Site
from bench.rules import ALLOWED_PREFIXES, APPS, HOURS, REFUSED, UNKNOWN_APP, as_keys, in_window, refusal_xml

_PROXY = """
  upstream pbx {{ server 127.0.0.1:{backend}; keepalive 512; keepalive_requests 100000000; keepalive_timeout 300s; }}
{maps}
  server {{
    listen 127.0.0.1:{port} backlog=8192;
    location / {{
{conditions}
      proxy_pass http://pbx; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
  }}"""


def contestants(rules: int) -> list[Contestant]:
    """Plain, and with a policy of so many rules."""

    def plain(site: Site) -> Launch:
        return _launch(site, "", "")

    def with_policy(site: Site) -> Launch:
        refuse = "\n".join(
            f"      if ($verdict = {code}) {{ return 200 '{refusal_xml((code, message))}'; }}"
            for code, message in (UNKNOWN_APP, REFUSED)
        )
        return _launch(site, _maps(rules), refuse)

    return [
        Contestant("nginx", "nginx `proxy_pass`", plain),
        Contestant("nginx-map", f"nginx + {rules:,}-rule map policy", with_policy, rules=rules),
    ]


def version() -> str:
    """The version, ``""`` when it is not installed."""
    if not find_nginx():
        return ""
    return (
        subprocess.run([find_nginx(), "-v"], capture_output=True, text=True, check=False)
        .stderr.partition("/")[2]
        .split()[0]
    )


def _launch(site: Site, maps: str, conditions: str) -> Launch:
    inside = _PROXY.format(backend=site.backend_port, port=site.port, maps=maps, conditions=conditions)
    return Launch(nginx_command(site.folder, inside), site.port, "/", environment={"TZ": "UTC"})


def _maps(rules: int) -> str:
    keys = as_keys(rules)
    by_length: dict[int, list[str]] = {}
    for key, window in keys.items():
        command, app, prefix = key.split(":")
        digits = prefix.removeprefix("+")
        by_length.setdefault(len(digits), []).append(f'    "{command}:{app}:{digits}" "{window or "always"}";')
    lines = [
        "  map_hash_max_size 131072; map_hash_bucket_size 128; variables_hash_max_size 4096;",
        '  map "$arg_username:$arg_password" $app {',
        *(f'    "{name}:{password}" {name};' for name, password in APPS.items()),
        "  }",
        # The number comes in escaped (`%2B36…`); nginx has no decoding, so the map knows the forms a client sends.
        r'  map $arg_dialed $digits { "~^%2[Bb](?<plus>\d+)$" $plus; "~^00(?<zeros>\d+)$" $zeros;',
        r'    "~^06(?<trunk>\d+)$" 36$trunk; }',
    ]
    for length, entries in by_length.items():
        lines.append(f'  map $digits $prefix{length} {{ "~^(?<p{length}>\\d{{{length}}})" $p{length}; }}')
        lines += [f'  map "$arg_command:$app:$prefix{length}" $window{length} {{', *entries, "  }"]
    windows = ":".join(f"$window{length}" for length in by_length)
    hours = "; ".join(f'"{hour:02}" ":{_windows_of(hour)}:"' for hour in range(24))
    allowed = "; ".join(f'"~^{prefix.removeprefix("+")}" yes' for prefix in ALLOWED_PREFIXES)
    lines += [
        '  map $time_iso8601 $hour { "~T(?<h>\\d\\d)" $h; }',
        f"  map $hour $open {{ {hours}; }}",
        f"  map $digits $country {{ {allowed}; }}",
        f'  map "{windows} $open" $denied {{',
        '    "~always" yes;',
        *(f'    "~{window}.* .*:{window}:" yes;' for window in HOURS),
        "  }",
        '  map "$app|$denied|$country" $verdict {',
        f'    "~^\\|" {UNKNOWN_APP[0]}; "~\\|yes\\|" {REFUSED[0]}; "~\\|\\|$" {REFUSED[0]}; default pass;',
        "  }",
    ]
    return "\n".join(lines)


def _windows_of(hour: int) -> str:
    return ":".join(window for window in HOURS if in_window(window, hour))
