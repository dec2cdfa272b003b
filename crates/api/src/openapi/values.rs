//! The domain's values as the document describes them. The domain knows nothing of OpenAPI, so its
//! identifiers, closed lists and limits are told here once, and tests hold them against it.

use comity_domain::ids;
use utoipa::openapi::schema::{ArrayBuilder, KnownFormat, SchemaFormat, Type};
use utoipa::openapi::{ObjectBuilder, Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A text with a form that a pattern says.
fn text(pattern: &str, meaning: &str, example: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
        .description(Some(meaning))
        .examples([serde_json::Value::from(example)])
        .into()
}

macro_rules! described {
    ($name:ident, $schema:expr) => {
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema
            }
        }
        impl ToSchema for $name {}
    };
}

/// Twenty-six digits of Crockford's base32; the first holds three bits only.
macro_rules! id {
    ($name:ident, $meaning:literal) => {
        #[doc = $meaning]
        pub struct $name;
        described!($name, {
            let prefix = ids::$name::PREFIX;
            let pattern = format!("^{prefix}_[0-7][0-9abcdefghjkmnpqrstvwxyz]{{25}}$");
            text(&pattern, $meaning, &format!("{prefix}_01kf4e9ab7c3x8m2v5r6t0w1yz"))
        });
    };
}

id!(OrganisationId, "Comity's identifier of an organisation.");
id!(UnitId, "Comity's identifier of a unit.");
id!(AccountId, "Comity's identifier of an account.");
id!(PersonId, "Comity's identifier of a person.");
id!(RoleId, "Comity's identifier of a role.");
id!(ApplicationId, "Comity's identifier of an application.");
id!(KeyId, "Comity's identifier of a key.");
id!(RequestId, "Comity's identifier of an access request.");
id!(GrantId, "Comity's identifier of a grant.");
id!(SessionId, "Comity's identifier of a session.");
id!(LockId, "Comity's identifier of a lock.");
id!(HaltId, "Comity's identifier of a halt.");
id!(WebhookId, "Comity's identifier of a webhook.");
id!(SignInId, "Comity's identifier of a sign-in.");
id!(PasskeyId, "Comity's identifier of a passkey.");
id!(StreamId, "Comity's identifier of an event stream.");

/// A closed list of words, each with what it means.
macro_rules! words {
    ($name:ident, $meaning:literal, $($word:literal: $says:literal),+ $(,)?) => {
        #[doc = $meaning]
        pub struct $name;
        impl $name {
            const WORDS: &[&str] = &[$($word),+];
        }
        described!($name, {
            let says = [$(concat!("`", $word, "`: ", $says)),+].join("; ");
            ObjectBuilder::new()
                .schema_type(Type::String)
                .enum_values(Some(Self::WORDS.iter().copied()))
                .description(Some(format!("{} {says}.", $meaning)))
                .into()
        });
    };
}

words!(Standing, "Whether an organisation, unit or member takes part.",
    "active": "takes part", "suspended": "stopped for a while", "closed": "gone for good");
words!(Shut, "Why a membership lets nobody in.",
    "superseded": "the person works there for a partner, and enters only by Switch Tenant",
    "member": "the member is suspended", "unit": "the member's unit is", "organisation": "the organisation is suspended or closed");
words!(Acr, "How well a person has proven who they are.",
    "single": "by one thing that they know", "multi": "by two things",
    "phishing_resistant": "by a passkey that has verified its user");
words!(Door, "Through which door something came.",
    "api": "the REST API", "token": "the token endpoint", "console": "the console",
    "cli": "the command line", "inside": "none: the server itself");
words!(PortalRole, "What a member may do inside Comity.",
    "admin": "everything", "customer_support": "reads");
words!(KeyUse, "What a key is for.",
    "provision": "keeps organisations, units, accounts, roles and members",
    "decide": "asks decisions for one application", "operate": "runs the installation");
words!(Mode, "How a person stays in a customer.",
    "direct": "as oneself", "view": "as oneself, reading only", "act_as": "as the customer organisation");
words!(Direction, "Who makes a request.",
    "partner_request": "a partner asks, with a customer ID", "customer_offer": "a customer offers");
words!(RequestPhase, "What became of a request.",
    "pending": "waits for a decision", "approved": "yes", "denied": "no", "cancelled": "taken back or fallen away",
    "expired": "nobody decided in time");
words!(RequestCancel, "Why a request was cancelled.",
    "by_asker": "taken back", "revoked": "the customer revoked a grant of the same partner",
    "locked": "the customer locked the partner or person", "closed": "an organisation was closed",
    "restored": "a restore put an offer back that may have been withdrawn");
words!(GrantPhase, "Where a grant stands.",
    "scheduled": "not yet", "unconfirmed": "put back by a restore, and not confirmed yet",
    "active": "now", "expired": "its time is over", "ended": "somebody ended it");
words!(GrantEnd, "Why a grant was ended.",
    "revoked": "by the customer", "given_up": "by the partner", "closed": "an organisation was closed");
words!(SessionStatus, "Where a session stands.",
    "active": "in progress", "expired": "ran past its deadline", "ended": "formally closed");
words!(SessionEnd, "Why a session was ended.",
    "closed": "the partner user came home", "ended_by_customer": "the customer ended it",
    "revoked": "the grant was revoked", "grant_ended": "the grant ended in another way",
    "unconfirmed": "its grant was put back by a restore",
    "assignment_lost": "no mode, role or account is left", "locked": "a lock",
    "suspended": "an organisation, unit or member was suspended or closed",
    "restored": "the installation was restored from a copy");
words!(Basis, "How a person came to be on a grant.",
    "individual": "chosen by the partner", "automatic": "by the rule that all members are on it",
    "invited": "by an invitation");
words!(AssignmentState, "Whether an assignment gives access.",
    "active": "it does", "suspended_no_roles": "the grant left it no role");
words!(NoticeKind, "What a notice is about.",
    "asked": "somebody asks for access", "approved": "the customer said yes", "denied": "it said no",
    "offered": "a customer offers access", "accepted": "a partner accepted it", "declined": "a partner declined it",
    "withdrawn": "an offer was taken back or fell away",
    "cancelled": "a request was taken back or fell away", "request_expired": "nobody decided in time",
    "offer_expired": "nobody answered an offer in time", "amended": "a grant gives something else",
    "narrowed": "a grant gives less", "revoked": "the customer ended a grant", "given_up": "the partner did",
    "closed": "it ended with an organisation", "expired": "it came to its end",
    "ends_in_7_days": "it ends within a week", "ends_in_1_day": "it ends within a day",
    "unconfirmed": "grants wait for a word after a restore", "confirmed": "the word was given",
    "unattended": "nobody is left on a grant", "no_roles": "somebody is left without a role",
    "trimmed": "somebody is left with less", "impersonation_started": "somebody acts as the customer",
    "impersonation_ended": "it is over", "locked": "a partner or person was locked out", "unlocked": "the lock was lifted",
    "halted": "Comity halted something", "halt_lifted": "the operator lifted the halt",
    "admins_changed": "somebody became Admin, or is none any more",
    "membership_superseded": "a member works for a partner now, and enters only that way",
    "membership_restored": "the organisation took them back as its own member",
    "webhooks_changed": "a webhook was made, changed, turned off or removed");
words!(NoticeSide, "Where the organisation that is told stands.",
    "customer": "it is the customer", "provider": "it is the partner", "own": "it is its own affair");

/// A set of modes.
pub struct Modes;
described!(
    Modes,
    ArrayBuilder::new()
        .items(Ref::from_schema_name("Mode"))
        .unique_items(true)
        .description(Some("Modes, each once."))
        .examples([serde_json::json!(["direct", "view"])])
        .into()
);

/// A permission, or a pattern of them.
pub struct Pattern;
described!(
    Pattern,
    text(
        r"^(\*|([a-z0-9_-]{1,64}|\*):([a-z0-9_-]{1,64}|\*))$",
        "A permission `resource:verb`, where either may be `*`. `*` alone is `*:*`.",
        "bookings:read",
    )
);

/// An instant.
pub struct Instant;
described!(
    Instant,
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .description(Some("An instant (RFC 3339). Answers give it in UTC, to the millisecond."))
        .examples([serde_json::Value::from("2027-01-31T12:00:00.000Z")])
        .into()
);

/// The hash of a summary.
pub struct Digest32;
described!(
    Digest32,
    text(
        "^[0-9a-f]{64}$",
        "SHA-256, as lower-case hexadecimal.",
        "3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b",
    )
);

/// Anything that the log holds, in the forms of its own reference.
pub struct Open;
described!(
    Open,
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::FreeForm(true)))
        .description(Some(
            "An object whose fields depend on its kind: see docs/reference/log-format.md."
        ))
        .into()
);

/// What WebAuthn level 3 says and asks.
pub struct WebAuthn;
described!(
    WebAuthn,
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::FreeForm(true)))
        .description(Some("An object of WebAuthn level 3, with base64url in place of bytes."))
        .into()
);

#[cfg(test)]
mod tests {
    use comity_domain::{
        application, assignment, command, factor, grant, notice, organisation, person, request,
        role, session,
    };
    use serde::de::DeserializeOwned;

    use super::*;

    /// The words that serde takes for `T`: it names them when it is given another.
    fn words_of<T: DeserializeOwned>() -> Vec<String> {
        let error = serde_json::from_str::<T>("\"?\"").err().unwrap().to_string();
        let (_, words) = error.split_once("expected ").unwrap();
        words.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn every_closed_list_is_the_domains() {
        macro_rules! same {
            ($($name:ident = $domain:ty),+ $(,)?) => {
                $(assert_eq!($name::WORDS, words_of::<$domain>(), stringify!($name));)+
            };
        }
        same!(
            Standing = organisation::Standing,
            Acr = factor::Acr,
            Door = command::Door,
            PortalRole = person::PortalRole,
            KeyUse = application::KeyUse,
            Mode = role::Mode,
            Direction = request::Direction,
            RequestPhase = request::RequestPhase,
            RequestCancel = request::RequestCancel,
            GrantPhase = grant::GrantPhase,
            GrantEnd = grant::GrantEnd,
            SessionStatus = session::SessionStatus,
            SessionEnd = session::SessionEnd,
            Basis = assignment::Basis,
            AssignmentState = assignment::AssignmentState,
        );
        let shut = comity_domain::view::Shut::ALL.iter().map(|s| s.code());
        assert_eq!(Shut::WORDS, shut.collect::<Vec<_>>());
        let codes: Vec<&str> = notice::Kind::ALL.iter().map(|k| k.code()).collect();
        assert_eq!(NoticeKind::WORDS, codes);
        let sides = [notice::Side::Customer, notice::Side::Provider, notice::Side::Own];
        assert_eq!(NoticeSide::WORDS, sides.map(|s| s.code()));
    }
}
