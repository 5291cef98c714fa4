"""What the ssh room asks others: who may come in, and by which way. On trio's side."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from appliance.dea.messages_ssh import OpenSession, SessionPlace
from appliance.kernel.bus import NoResponders, RequestTimeout
from appliance.kernel.errors import ApplianceError
from appliance.kernel.kit import Kit
from appliance.logs.messages import Line, LogLines
from fake_controller.messages import SshAuthorize, SshAuthorized

ANSWER_SECONDS = 10.0  # for the controller
PLACE_SECONDS = 3.0  # for the DEA; silence is how DEAs say no


class Refused(ApplianceError):
    """Not this client, or not this instance; the sentence is for the client."""

    code, status = "ssh-refused", 403


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Asks, and tells the app's log who came and went."""

    kit: Kit

    async def authorize(self, user: str, code: str, client: str) -> SshAuthorized:
        """Whom *code* lets into what *user* names.

        Raises:
          Refused: the controller says no, or nothing.
        """
        question = SshAuthorize(user=user, code=code, client=client)
        try:
            answer = await self.kit.request(question, SshAuthorized, timeout=ANSWER_SECONDS)
        except (NoResponders, RequestTimeout) as error:
            self.kit.trace.event("ssh.unanswered", why=str(error))
            raise Refused("The controller does not answer.") from error
        if answer.refusal:
            self.kit.trace.event("ssh.refused", user=user, client=client, why=answer.refusal)
            raise Refused(answer.refusal)
        self.kit.trace.event("ssh.authorized", user=user, client=client, who=answer.username)
        self._log(answer, f"Successful remote access by {client}")
        return answer

    async def place(self, admitted: SshAuthorized) -> SessionPlace:
        """A way into the instance, for one channel.

        Raises:
          Refused: it runs no more.
        """
        question = OpenSession(
            droplet=admitted.droplet, index=admitted.index, instance=admitted.instance
        )
        try:
            return await self.kit.request(question, SessionPlace, timeout=PLACE_SECONDS)
        except (NoResponders, RequestTimeout) as error:
            raise Refused("The instance does not run any more.") from error

    def left(self, admitted: SshAuthorized, client: str) -> None:
        """The connection has ended."""
        self._log(admitted, f"Remote access ended for {client}")

    def broken(self, client: str, error: Exception) -> None:
        """A client talks nonsense; or we have a bug, and this is where it shows."""
        said = "".join(traceback.format_exception(error))
        why = f"{type(error).__name__}: {error}"
        self.kit.trace.event("ssh.broken", client=client, why=why, traceback=said)

    def _log(self, admitted: SshAuthorized, text: str) -> None:
        source = admitted.app_id
        line = Line(
            timestamp=self.kit.clock.time_ns(),
            text=text,
            source_type="SSH",
            instance=str(admitted.index),
        )
        self.kit.publish(LogLines(source=source, lines=[line]), subject=f"logs.lines.{source}")
