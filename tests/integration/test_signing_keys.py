"""`aico-sched keys … --signing`, as a person uses it."""

from pathlib import Path

from tests.integration.support.process import command


async def test_keys_that_sign_are_made_listed_and_revoked(tmp_path: Path) -> None:
    made = await command(tmp_path, "keys", "create", "mod", "--role", "operator", "--signing", "--json")
    assert (made.code, made.json["role"]) == (0, "operator")
    secret = Path(made.json["secret_file"])
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.read_text() not in made.output
    again = await command(tmp_path, "keys", "create", "mod", "--signing")
    assert again.code == 1
    assert "revoke it first" in again.errors
    revoked = await command(tmp_path, "keys", "revoke", "mod", "--signing")
    assert revoked.code == 0
    assert not secret.exists()
    listed = (await command(tmp_path, "keys", "list", "--signing", "--json")).json["keys"]
    assert {key["name"]: key["revoked"] for key in listed} == {"admin": False, "aico-sched": False, "mod": True}
    # The keys of the hosted bus are others.
    assert "mod" not in {key["name"] for key in (await command(tmp_path, "keys", "list", "--json")).json["keys"]}
