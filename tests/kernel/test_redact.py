"""The redactor: each row is a text with a secret in it, and what must be left to see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.kernel.redact import HIDDEN, is_secret, redact, redact_data
from appliance.kernel.trace import Event, Trace

C = "c4n4ry"
JWT = f"eyJhbGciOiJIUzI1NiJ9.{C}eyJzdWIiOiJ4In0.{C}-sig_1"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"GET http://user:{C}@127.0.0.1:7760/x failed", "GET http://***@127.0.0.1:7760/x failed"),
        (f"http://{C}@host/", "http://***@host/"),
        (f"nats://u:{C}@{C}@host:4222", "nats://***@host:4222"),
        (f"postgres://u:{C}/{C}@db/name", "postgres://***@db/name"),
        (f"Authorization: Basic {C}==", "Authorization: ***"),
        (f"Authorization: Custom a={C}, b={C}", "Authorization: ***"),
        (f"[(b'authorization', b'Basic {C}')]", "[(b'authorization', ***)]"),
        (f"sent Bearer {C}.x and", "sent Bearer *** and"),
        (f"Cookie: a=b; session={C}", "Cookie: ***"),
        (f"the token {JWT} is old", "the token *** is old"),
        (f'VCAP_SERVICES={{"db":[{{"credentials":{{"uri":"{C}"}}}}]}}', "VCAP_SERVICES=***"),
        (f'{{"VCAP_SERVICES": "{{\\"a\\": [\\"{C}\\"]}}\n{C}"}}', '{"VCAP_SERVICES=***"'),
        (f"password={C} user=x", "password=*** user=x"),
        (f'{{"db_password": "{C}\\" {C}", "a": 1}}', '{"db_password": ***, "a": 1}'),
        (f'"{{\\"secret\\": \\"{C} {C}\\", \\"a\\": 1}}"', '"{\\"secret\\": ***, \\"a\\": 1}"'),
        (f"clientSecret: '{C} {C}'", "clientSecret: ***"),
        (f'password="{C} {C} cut off', "password=***"),
        (f"/callback?access_token={C}&state=1", "/callback?access_token=***&state=1"),
        (f'"credentials": {{"user": "a", "pass": "{C}"}}', '"credentials": ***'),
        (f"api_key={C}", "api_key=***"),
        (f"Start(env=['A={C} {C}', \"B={C}'\"], index=0)", "Start(env=***, index=0)"),
        (f"['A={C} {C}', \"B={C}'\"]", "['A=***', \"B=***\"]"),
        (f"environment={{'A': '{C}'}}", "environment=***"),
        (f"env={{'A': '}}{C}', 'B': '{C}'}}", "env=***"),
        (f"env=['A=]{C}', 'B={C}']", "env=***"),
        (f'"credentials": {{"a": {{"b": 1}}, "c": "{C}"}}', '"credentials": ***'),
        (f"env DATABASE_URL={C} ./run", "env DATABASE_URL=*** ./run"),
    ],
)
def test_hides_what_has_the_form_of_a_secret(text: str, left: str) -> None:
    """The secret is gone; what tells the reader what happened is not."""
    assert redact(text) == left
    assert C not in left


@pytest.mark.parametrize(
    "text",
    [
        "Wrong user or password.",
        "This needs basic authentication, not bearer tokens.",
        "http://127.0.0.1:7760/droplets/a@b",
        "/v3/apps?names=hello&per_page=50",
        "python 3.11.2: requirements.txt has 2 lines",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "The stager did not answer within 900 s.",
        "hello@example.com",
    ],
)
def test_leaves_everything_else_as_it_is(text: str) -> None:
    """An operator must still be able to read what happened."""
    assert redact(text) == text


def test_names_decide_for_whole_values() -> None:
    """A secret's name hides any value; a bag of variables keeps its names."""
    data = {"password": C, "X-Auth-Token": C, "credentials": {"a": C}, "env": [f"A={C}"],
            "environment": {"B": C}, "port": 80, "why": None, "secret": "", "key": "left",
            "nested": {"api_key": C, "list": [f"password={C}"]}}  # fmt: skip
    assert redact_data(data) == {
        "password": HIDDEN, "X-Auth-Token": HIDDEN, "credentials": HIDDEN, "env": ["A=***"],
        "environment": {"B": HIDDEN}, "port": 80, "why": None, "secret": "", "key": "left",
        "nested": {"api_key": HIDDEN, "list": ["password=***"]},
    }  # fmt: skip
    assert is_secret("db_password")
    assert is_secret("staging_credentials")
    assert not is_secret("passed")


async def test_the_trace_hides_before_any_sink_sees() -> None:
    """Every sink gets the redacted event; so does whoever sees it as a line."""
    seen: list[Event] = []
    trace = Trace("test", [seen.append, seen.append])
    trace.named("other").event("thing.failed", why=f"http://u:{C}@host refused", token=C, count=3)
    assert [event.data for event in seen] == [
        {"why": "http://***@host refused", "token": HIDDEN, "count": 3}
    ] * 2
    assert C not in str(seen[0])


def test_a_terminal_is_safe_from_what_strangers_sent() -> None:
    """Control characters are shown and not obeyed; lines and tabs stay."""
    event = Event(at=0, room="r", what="w", data={"path": "/\x1b[2J\x9b1m\r", "text": "a\n\tb"})
    assert str(event).endswith("path=/\\x1b[2J\\x9b1m\\x0d text=a\n\tb")


@pytest.mark.parametrize(
    "piece",
    ["-eyJaaaaa", "://a:b", "token=", "token", 'password="', "'a=", "A=", "basic A", "env=[",
     "\\\"", "authorization", "VCAP_SERVICES", "a.b-", "://@", "AAA"],
)  # fmt: skip
def test_no_text_takes_long(piece: str) -> None:
    """A path or an error from a stranger cannot hold up the loop: the time stays linear."""
    import time

    began = time.process_time()
    redact(piece * (200_000 // len(piece)) + " token=")
    assert time.process_time() - began < 1


@given(st.text(alphabet=st.characters(codec="utf-8", categories=["L", "N"]), min_size=12))
def test_a_password_of_any_letters_is_hidden(secret: str) -> None:
    """Whatever a secret is made of, its place gives it away."""
    for text in (f"http://u:{secret}@h/", f"password={secret}", f'"token": "{secret}"'):
        assert secret not in redact(text)
