# Written by `make clients` from the server's /openapi.json: change nothing here.

from __future__ import annotations

from typing import Literal, TypedDict

#: Comity's identifier of a grant.
GrantId = str

#: How a person stays in a customer. `direct`: as oneself; `view`: as oneself, reading only;
#: `act_as`: as the customer organisation.
Mode = Literal["direct", "view", "act_as"]

#: Comity's identifier of an organisation.
OrganisationId = str

#: Where to stop.
Semantic = Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"]

#: Comity's identifier of a session.
SessionId = str


class ActionName(TypedDict):
    """An action."""

    #: A permission, `resource:verb`.
    name: str


class Context(TypedDict, total=False):
    """What is read of a context; more may be there."""

    #: A position of the log that the answer has to reflect.
    at_least: int | None


class Decision(TypedDict):
    """A decision."""

    #: Yes or no.
    decision: bool
    #: Why, and about whom.
    context: DecisionContext


class _DecisionContext(TypedDict):
    """What comes with a decision."""

    #: The stable code of the reason.
    reason: str
    #: A sentence for the person who was refused.
    message: str


class DecisionContext(_DecisionContext, total=False):
    """What comes with a decision."""

    #: The position of the log that the answer reflects, or a later one.
    seq: int | None
    #: When it was given.
    at: str | None
    #: Who really acts.
    actor: Somebody | None
    #: As whom.
    subject: Somebody | None
    #: The session.
    session: SessionId
    #: The grant that it runs under.
    grant: GrantId
    #: In which organisation.
    organisation: OrganisationId
    #: The session's mode.
    mode: Mode
    #: When the session ends by the clock.
    deadline: str | None
    #: Why this one of several questions could not be answered.
    error: ItemError | None


class Decisions(TypedDict):
    """Several decisions, in the order of the questions."""

    #: As many as were evaluated.
    evaluations: list[Decision]


class _Entity(TypedDict):
    """A subject or a resource."""

    #: A subject is a `partner_session`, `session` or `person`; a resource an `account` or
    #: `organisation`.
    type: str


class Entity(_Entity, total=False):
    """A subject or a resource."""

    #: Its identifier. A search needs none of what it searches, and passes it over.
    id: str | None
    #: More about it.
    properties: Properties | None


class Evaluation(TypedDict, total=False):
    """One question."""

    #: Who.
    subject: Entity | None
    #: What.
    action: ActionName | None
    #: To what.
    resource: Entity | None
    #: Under which circumstances.
    context: Context | None


class Evaluations(TypedDict, total=False):
    """Several questions. What stands outside of the list is the default for each question in it."""

    #: Who, where a question does not say.
    subject: Entity | None
    #: What, where a question does not say.
    action: ActionName | None
    #: To what, where a question does not say.
    resource: Entity | None
    #: Under which circumstances, where a question does not say.
    context: Context | None
    #: At most 1,000. Without any, the request is a single evaluation.
    evaluations: list[Evaluation] | None
    #: How they are carried out.
    options: Options | None


class ItemError(TypedDict):
    """Why one of several questions could not be answered: it counts as no."""

    #: The status that the question would have got by itself.
    status: int
    #: What is wrong.
    message: str


class Options(TypedDict, total=False):
    """What is read of the options; more may be there."""

    #: Where to stop.
    evaluations_semantic: Semantic | None


class Properties(TypedDict, total=False):
    """What is read of an entity's properties; others may be there."""

    #: Of a resource: the organisation that it belongs to, by Comity's identifier or the
    #: builder's.
    organisation: str | None


class Somebody(TypedDict):
    """A person or an organisation."""

    #: `person` or `organisation`.
    type: str
    #: Comity's identifier.
    id: str
