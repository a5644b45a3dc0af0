"""Provider keys that virtual keys are bound to."""

from __future__ import annotations

from llm import denial
from providers import MODEL, Providers
from stack import KeyInForce
from waiting import eventually


def test_a_virtual_key_bound_to_a_provider_key_never_uses_another(providers: Providers) -> None:
    """R-32. Each sees its own; without one, nothing leaves."""
    admin, path = providers.stack.admin, "/api/providers/outside/keys"
    (main,) = admin.get(path)["keys"]
    made = {
        name: admin.post(path, {"name": name, "value": f"sk-{name}", "weight": 0.5})["key"]["id"]
        for name in ("dev", "prod")
    }

    def bound(*key_ids: str) -> KeyInForce:
        config = {"provider": "outside", "allowed_models": ["*"], "key_ids": list(key_ids)}
        return providers.stack.key(provider_configs=[config])

    def carried(key: KeyInForce) -> list[bytes]:
        def asked() -> bool:
            response = caller.chat(MODEL)
            # The cluster of a key that nobody was bound to before is there in a moment.
            assert response.status_code == 200, response.text
            return True

        caller = providers.stack.caller(key.value)
        eventually(asked, what="the provider with that key")
        (received,) = providers.outside.take()
        return received.values("authorization")

    keys = {name: bound(key_id) for name, key_id in made.items()}
    both, unbound, none = bound(*made.values()), bound("*"), bound()
    for name, key in keys.items():
        assert carried(key) == [f"Bearer sk-{name}".encode()]
    assert carried(unbound) == [b"Bearer sk-of-it"], "the heaviest"
    assert carried(both) == [b"Bearer sk-dev"], "of two that weigh the same the older one"

    # A new value of the same key, while requests come.
    admin.put(f"{path}/{made['dev']}", {"value": "sk-dev-2"})
    eventually(lambda: carried(keys["dev"]) == [b"Bearer sk-dev-2"], what="the new value")

    caller = providers.stack.caller(none.value)
    assert denial(caller.chat(MODEL)) == (403, "provider_key_blocked")
    admin.put(f"{path}/{made['dev']}", {"is_active": False})
    caller = providers.stack.caller(keys["dev"].value)

    def refused() -> bool:
        response = caller.chat(MODEL)
        return response.status_code == 403 and denial(response) == (403, "provider_key_blocked")

    eventually(refused, what="the refusal")
    arrived = providers.outside.take()
    carried_before = {value for it in arrived for value in it.values("authorization")}
    assert carried_before <= {b"Bearer sk-dev-2"}
    assert carried(both) == [b"Bearer sk-prod"]
    admin.delete(f"{path}/{made['prod']}")
    eventually(
        lambda: providers.stack.caller(both.value).chat(MODEL).status_code == 403, what="the refusal"
    )
    providers.outside.take()
    for key in (keys["dev"], keys["prod"], both, none):
        response = providers.stack.caller(key.value).chat(f"outside/{MODEL}")
        assert denial(response) == (403, "provider_key_blocked")
    assert not providers.outside.take()
    assert carried(unbound) == [b"Bearer sk-of-it"]
    assert [key["id"] for key in admin.get(path)["keys"]] == [main["id"], made["dev"]]
    admin.delete(f"{path}/{made['dev']}")
