"""What people are told about one change of an incident, in words that fit every channel."""

from __future__ import annotations

from remediation.records import Incident, Name, Record, State, new_id


class Notice(Record):
    """One message; `id` lets a receiver drop a repetition, `event` names the change: a state, or what else happened."""

    id: str
    incident: str
    service: Name
    instance: Name
    event: str
    text: str
    found: str = ""
    plan: tuple[str, ...] = ()
    reason: str = ""
    approval: str = ""

    @property
    def title(self) -> str:
        """One line, whatever telemetry wrote into the text."""
        return " ".join(f"{self.service}/{self.instance}: {self.text}".split())

    @property
    def over(self) -> bool:
        """Whether the incident has ended with this."""
        return self.event in (State.RESOLVED, State.DISMISSED)

    def lines(self, ui: str) -> dict[str, str]:
        """What else there is to say, by label; `ui` is the address where a waiting plan can be answered as well."""
        said = {"Incident": self.incident, "Found": self.found}
        if not self.over:
            said |= {"Planned": "; ".join(self.plan), "Why": self.reason}
        if self.approval:
            said |= {"Approve": f"aiops approve {self.approval}", "Deny": f"aiops approve --deny {self.approval}"}
            said |= {"Or answer at": f"{ui}/runs"}
        return {label: text for label, text in said.items() if text}

    def body(self, ui: str) -> str:
        """The lines as plain text."""
        return "\n".join(f"{label}: {text}" for label, text in self.lines(ui).items())


def about(incident: Incident, event: str, text: str, approval: str = "") -> Notice:
    """The notice of one change, with what is known of the incident at that moment."""
    diagnosis, decision = incident.diagnosis, incident.decision
    place = diagnosis or incident.detection
    found = f"{diagnosis.cause} of {diagnosis.instance}: {'; '.join(diagnosis.evidence)}" if diagnosis else ""
    plan = decision.plan if decision else None
    return Notice(
        id=new_id("notice"),
        incident=incident.id,
        service=place.service,
        instance=place.instance,
        event=event,
        text=text,
        found=found,
        plan=(f"{plan.action} on {plan.target.instance}", *plan.changes) if plan else (),
        reason=decision.reason if decision else "",
        approval=approval,
    )
