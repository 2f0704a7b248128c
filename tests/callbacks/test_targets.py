"""Where an app may point the PBX."""

import pytest

from interceptor.callbacks import Targets
from interceptor.settings import App, Url

NAMED = App("crm", callbacks=("hooks.example.com", "*.apps.example.com", "10.20.0.0/16", "127.0.0.1", "2001:db8::/32"))
OWN = App("shop", url=Url("shop.example.com", 80, "/"), urls={"GoTo": Url("192.0.2.7", 8080, "/x")})
TARGETS = Targets({"crm": NAMED, "shop": OWN, "home": App("home", callbacks=("localhost",)), "none": App("none")})


@pytest.mark.parametrize(
    ("app", "url"),
    [
        ("crm", "http://hooks.example.com/x"),
        ("crm", "http://HOOKS.example.com:8080/x?y"),
        ("crm", "http://a.b.apps.example.com/"),
        ("crm", "http://10.20.3.4/"),
        ("crm", "http://127.0.0.1:9/"),
        ("crm", "http://[::ffff:10.20.0.1]/"),
        ("crm", "http://[2001:db8::1]/"),
        ("shop", "http://shop.example.com/anything"),
        ("shop", "http://192.0.2.7/"),
        ("home", "http://localhost:8000/"),
        ("home", "http://127.0.0.1/"),
    ],
)
def test_what_config_names_is_allowed(app: str, url: str):
    assert TARGETS.refuses(app, url) == ""


@pytest.mark.parametrize(
    ("app", "url"),
    [
        ("crm", "http://example.com/"),
        ("crm", "http://apps.example.com/"),
        ("crm", "http://hooks.example.com@evil.test/"),
        ("crm", "http://evil.test#hooks.example.com/"),
        ("crm", "http://10.21.0.1/"),
        ("crm", "http://127.0.0.2/"),
        ("crm", "http://169.254.169.254/latest/meta-data"),
        ("crm", "http://[::1]/"),
        ("crm", "http://[::ffff:169.254.169.254]/"),
        ("crm", "http://[/"),
        ("crm", "http:///x"),
        ("shop", "http://10.20.3.4/"),
        ("none", "http://shop.example.com/"),
        ("nobody", "http://hooks.example.com/"),
    ],
)
def test_what_config_does_not_name_is_refused(app: str, url: str):
    assert TARGETS.refuses(app, url) != ""


@pytest.mark.parametrize(
    ("app", "address", "reaches"),
    [
        ("crm", "192.0.2.1", True),
        ("crm", "127.0.0.1", True),
        ("crm", "127.0.0.2", False),
        ("crm", "169.254.169.254", False),
        ("crm", "::ffff:169.254.169.254", False),
        ("crm", "0.0.0.0", False),
        ("crm", "fd00:ec2::254", False),
        ("home", "::1", True),
        ("shop", "10.0.0.1", True),
        ("shop", "no address", False),
    ],
)
def test_an_allowed_name_may_not_lead_to_an_inner_address(app: str, address: str, reaches: bool):
    assert TARGETS.reaches(app, address) is reaches
