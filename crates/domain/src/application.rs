//! The builder's services, the keys by which programs call, and the platform's policy.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::command::Caller;
use crate::draft::Draft;
use crate::event::Event;
use crate::ids::{ApplicationId, Digest32, KeyId};
use crate::may::{self, Action, Thing};
use crate::permission::Permissions;
use crate::refusal::Refusal;
use crate::signing::PublicKey;
use crate::text;
use crate::time::{Days, Minutes};

/// How many keys an application may prove itself by: one in use, one to come, and some to spare.
pub const MOST_CLIENT_KEYS: usize = 8;

/// A service of the builder's product that asks decisions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// Its code.
    pub code: Arc<str>,
    /// The value of `audience` by which a token is asked for it.
    pub audience: Arc<str>,
    /// Its permission words: a token for it never permits anything else.
    pub permissions: Permissions,
    /// The keys by which it proves itself (RFC 7523), sorted; none for only by its secrets.
    pub client_keys: Vec<PublicKey>,
    /// Where it takes over somebody who enters a customer by the console.
    pub launch_url: Option<Arc<str>>,
}

impl Application {
    /// The origin of its launch address (RFC 6454), as a browser's policy names it.
    #[must_use]
    pub fn launch_origin(&self) -> Option<&str> {
        let url = self.launch_url.as_deref()?;
        let host = url.find("://")?.checked_add(3)?;
        let end = url.get(host..)?.find(['/', '?']).and_then(|n| n.checked_add(host));
        url.get(..end.unwrap_or(url.len()))
    }
}

/// The longest launch address, in bytes.
const MOST_LAUNCH_URL: usize = 1_000;

/// A launch address: `https`, or `http` to this very machine. It is shown in a browser's policy, so
/// its host holds nothing but letters, digits, dots and hyphens.
fn launch_url(text: &str) -> Result<Arc<str>, Refusal> {
    let wrong = || {
        let why = format!(
            "must be an https address (or http to localhost) of at most {MOST_LAUNCH_URL} ASCII characters, \
             without user, password or fragment"
        );
        Refusal::invalid("launch_url", why)
    };
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'#'));
    if !plain || text.len() > MOST_LAUNCH_URL {
        return Err(wrong());
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    let named = !host.is_empty()
        && !host.starts_with(['.', '-'])
        && host.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'));
    let port = port.is_none_or(|p| p.parse::<u16>().is_ok_and(|p| p > 0));
    let scheme = scheme == "https" || (scheme == "http" && here);
    if scheme && (here || named) && port { Ok(text.into()) } else { Err(wrong()) }
}

/// What a key is for. Never all by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyUse {
    /// Keeps organisations, units, accounts, roles and members.
    Provision,
    /// Asks decisions for one application.
    Decide,
    /// Runs the installation: applications, keys, levels, policy, suspension.
    Operate,
}

/// A key of the platform or of an application. Only its digest is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// What it is for.
    pub usage: KeyUse,
    /// For which application; a `decide` key always has one, the others never.
    pub application: Option<ApplicationId>,
    /// The digest of the secret.
    pub digest: Digest32,
    /// A retired key opens nothing.
    pub retired: bool,
}

/// What the operator sets for the whole installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What no partner may do, whatever its roles.
    pub never_delegable: Permissions,
    /// Whether a customer's offer waits for the provider's yes.
    pub offers_need_acceptance: bool,
    /// The longest session, 5 to 480 minutes.
    pub session_cap: Minutes,
    /// The longest grant, 1 to 730 days.
    pub longest_grant: Days,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            never_delegable: Permissions::none(),
            offers_need_acceptance: true,
            session_cap: Minutes(480),
            longest_grant: Days(730),
        }
    }
}

/// Defines an application, or changes it.
pub(crate) fn put(
    d: &mut Draft<'_>,
    caller: &Caller,
    code: &str,
    audience: &str,
    permissions: Permissions,
    launch: Option<&str>,
) -> Result<(), Refusal> {
    may::check(&d.state, caller, Action::PutApplication, Thing::platform(), d.now())?;
    let code = text::code("code", code)?;
    let audience = text::reference("audience", audience)?;
    if permissions.is_empty() {
        return Err(Refusal::invalid(
            "permissions",
            "must name what the application can be asked about",
        ));
    }
    let launch_url = launch.map(launch_url).transpose()?;
    let existing = d.state.applications.iter().find(|(_, a)| a.code == code).map(|(id, _)| id);
    if d.state.application_by_audience(&audience).is_some_and(|id| Some(id) != existing) {
        return Err(Refusal::Taken("audience"));
    }
    let client_keys = existing
        .and_then(|id| d.state.applications.get(id))
        .map(|a| a.client_keys.clone())
        .unwrap_or_default();
    let wanted = Application { code, audience, permissions, client_keys, launch_url };
    if existing.and_then(|id| d.state.applications.get(id)) == Some(&wanted) {
        return Ok(());
    }
    let application = existing.unwrap_or_else(|| ApplicationId(d.id()));
    let Application { code, audience, permissions, launch_url, .. } = wanted;
    d.emit(Event::ApplicationDefined { application, code, audience, permissions, launch_url });
    Ok(())
}

/// Makes a key. Where nobody holds one for operate, on an empty log and after a restore, Comity
/// itself makes it.
pub(crate) fn make_key(
    d: &mut Draft<'_>,
    caller: &Caller,
    usage: KeyUse,
    application: Option<ApplicationId>,
    digest: Digest32,
) -> Result<(), Refusal> {
    let operators = |(_, k): (KeyId, &Key)| k.usage == KeyUse::Operate && !k.retired;
    let nobody = usage == KeyUse::Operate && !d.state.keys.iter().any(operators);
    if !(nobody && may::system(caller).is_ok()) {
        may::check(&d.state, caller, Action::MakeKey, Thing::platform(), d.now())?;
    }
    match (usage, application) {
        (KeyUse::Decide, Some(id)) if d.state.applications.get(id).is_some() => {}
        (KeyUse::Decide, _) => {
            return Err(Refusal::invalid("application", "must name the application that will ask"));
        }
        (_, Some(_)) => {
            return Err(Refusal::invalid("application", "is only for keys that decide"));
        }
        (_, None) => {}
    }
    let key = KeyId(d.id());
    d.emit(Event::KeyMade { key, usage, application, digest });
    Ok(())
}

/// Retires a key; one that is retired already stays so.
pub(crate) fn retire_key(d: &mut Draft<'_>, caller: &Caller, key: KeyId) -> Result<(), Refusal> {
    may::check(&d.state, caller, Action::RetireKey, Thing::platform(), d.now())?;
    let found = d.state.keys.get(key).ok_or(Refusal::NotFound)?;
    if found.retired {
        return Ok(());
    }
    let operators =
        d.state.keys.iter().filter(|(_, k)| k.usage == KeyUse::Operate && !k.retired).count();
    if found.usage == KeyUse::Operate && operators == 1 {
        return Err(Refusal::WrongState("the last key for operate: make another first"));
    }
    d.emit(Event::KeyRetired { key });
    Ok(())
}

/// Sets by which keys an application proves itself.
pub(crate) fn set_client_keys(
    d: &mut Draft<'_>,
    caller: &Caller,
    application: ApplicationId,
    mut keys: Vec<PublicKey>,
) -> Result<(), Refusal> {
    may::check(&d.state, caller, Action::SetClientKeys, Thing::platform(), d.now())?;
    let known = d.state.applications.get(application).ok_or(Refusal::NotFound)?;
    keys.sort();
    keys.dedup();
    if keys.len() > MOST_CLIENT_KEYS {
        return Err(Refusal::invalid("keys", format!("may name {MOST_CLIENT_KEYS} keys at most")));
    }
    let other = |key: &PublicKey| {
        d.state.signing_keys.contains_key(&key.thumbprint())
            || d.state
                .applications
                .iter()
                .any(|(id, a)| id != application && a.client_keys.contains(key))
    };
    if keys.iter().any(other) {
        return Err(Refusal::Taken("keys"));
    }
    if known.client_keys != keys {
        d.emit(Event::ClientKeysSet { application, keys });
    }
    Ok(())
}

/// Sets the platform's policy.
pub(crate) fn set_policy(
    d: &mut Draft<'_>,
    caller: &Caller,
    policy: Policy,
) -> Result<(), Refusal> {
    may::check(&d.state, caller, Action::SetPolicy, Thing::platform(), d.now())?;
    if !(5..=480).contains(&policy.session_cap.0) {
        return Err(Refusal::invalid("session_minutes", "must be from 5 to 480"));
    }
    if !(1..=730).contains(&policy.longest_grant.0) {
        return Err(Refusal::invalid("longest_grant_days", "must be from 1 to 730"));
    }
    if d.state.policy != policy {
        d.emit(Event::PolicySet { policy });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t9_a_launch_address_is_read_strictly_and_its_origin_holds_nothing_else() {
        let application = |url: &str| Application {
            code: "boats".into(),
            audience: "https://api.boats.example".into(),
            permissions: Permissions::all(),
            client_keys: Vec::new(),
            launch_url: Some(launch_url(url).unwrap()),
        };
        for (url, origin) in [
            ("https://boats.example/enter?from=comity", "https://boats.example"),
            ("https://boats.example:8443", "https://boats.example:8443"),
            ("https://boats.example?x=//y", "https://boats.example"),
            ("http://localhost:3000/enter", "http://localhost:3000"),
            ("http://[::1]:3000/enter", "http://[::1]:3000"),
            ("http://127.0.0.1/", "http://127.0.0.1"),
        ] {
            assert_eq!(application(url).launch_origin(), Some(origin), "{url}");
        }
        for bad in [
            "",
            "boats.example",
            "http://boats.example/",
            "javascript:alert(1)",
            "https://",
            "https://-x",
            "https://ana:secret@boats.example/",
            "https://boats.example;script-src/",
            "https://boats.example,evil.example/",
            "https://*.example/",
            "https://boats.example#x",
            "https://boats.example:0/",
            "https://boats.example:http/",
            "https://boats .example/",
            "https://boats.example/\\x",
            "http://localhost.evil.example/",
        ] {
            assert!(launch_url(bad).is_err(), "{bad}");
        }
    }
}
