"""What every group of settings is made of, and what several kinds of servers have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from settings import rules


class Group(BaseModel):
    """A group of settings: unknown names are errors, and nothing changes after it was read.

    Mappings stay plain dicts at run time, so that json.dumps takes them; their type says that nobody writes to them.
    """

    # hide_input_in_errors: an error that escapes by mistake still shows no secret.
    # defer_build: only the whole is ever validated, so its parts need no validators of their own at each start.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)


class Bastion(Group):
    """The host through which a server is reached that this machine cannot reach itself."""

    address: rules.Address = Field(
        examples=["bastion.example.com"], description="Its name or IP address, without user and port."
    )
    port: rules.Port = Field(default=22, description="Its port for SSH.")
    user: rules.LoginUser = Field(
        default="root", description="The user who logs in there; it has to do nothing but pass connections on."
    )
    host_key: rules.HostKey = Field(
        examples=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDg5Aor+8Ts08IXenpMILbZECxRUDnNisjtwU5kO8Gg5"],
        description="The public SSH host key of the bastion, as ssh-keyscan prints it; no other host is trusted.",
    )
