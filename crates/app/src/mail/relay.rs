//! The relay: the one server that mails are handed to, by SMTP (RFC 5321).
//!
//! It is spoken to by TLS: from the first byte (`smtps`, RFC 8314) or after STARTTLS (`smtp`,
//! RFC 3207), without which nothing is sent. Only on this machine's loopback it may be plain.

use std::path::Path;
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{SmtpTransport, Transport as _};
use url::Url;

use super::Said;

/// How long one step of the conversation may take.
const STEP: Duration = Duration::from_secs(10);

/// A relay that can be spoken to. Its `Debug` form shows no password.
#[derive(Clone)]
pub struct Relay {
    transport: SmtpTransport,
    shown: String,
    encrypted: bool,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Relay").field(&self.shown).finish()
    }
}

/// What came of handing a mail on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// The relay took it.
    Taken,
    /// The relay said no for now (4yz).
    NotNow(u16),
    /// The relay said no (5yz).
    Refused(u16),
    /// It could not be spoken to, or was lost on the way: perhaps it took the mail.
    Lost(&'static str),
}

impl Relay {
    /// The relay of the settings.
    ///
    /// # Errors
    /// What is wrong, beginning with the name of the setting.
    pub fn of(said: &Said) -> Result<Self, String> {
        let wrong = |why: &str| format!("smtp: {:?} {why}", said.smtp);
        let url = Url::parse(&said.smtp)
            .map_err(|_| wrong("is not a URL such as smtps://user@mail.example.com:465"))?;
        if url.password().is_some() {
            return Err("smtp: the password does not belong into the URL; name its file by \
                        password_file"
                .into());
        }
        let bare = url.path().trim_matches('/').is_empty() && url.query().is_none();
        let host = url.host_str().filter(|h| !h.is_empty() && bare).ok_or_else(|| {
            wrong(
                "must name a host, a port and a user at most, such as smtp://mail.example.com:587",
            )
        })?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let loopback = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let (port, tls) = match url.scheme() {
            "smtps" => (465, Tls::Wrapper(parameters(&host, said.extra_ca.as_deref())?)),
            "smtp" if loopback => (25, Tls::None),
            "smtp" => (587, Tls::Required(parameters(&host, said.extra_ca.as_deref())?)),
            _ => return Err(wrong("must begin with smtps:// or smtp://")),
        };
        let (port, encrypted) = (url.port().unwrap_or(port), !matches!(tls, Tls::None));
        let mut transport = SmtpTransport::builder_dangerous(host.clone())
            .port(port)
            .tls(tls)
            .hello_name(ClientId::Domain("comity.invalid".into()))
            .timeout(Some(STEP));
        let user = percent_decoded(url.username()).ok_or_else(|| wrong("names no user"))?;
        match (user.as_str(), &said.password) {
            ("", None) => {}
            ("", Some(_)) => return Err(wrong("names no user whose password it could be")),
            (user, password) => {
                let password = password.clone().unwrap_or_default();
                transport = transport.credentials(Credentials::new(user.to_owned(), password));
            }
        }
        let shown = format!("{}://{host}:{port}", url.scheme());
        Ok(Self { transport: transport.build(), shown, encrypted })
    }

    /// As it is told to people.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether it is spoken to by TLS.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Hands a mail on. Blocking.
    #[must_use]
    pub fn hand(&self, envelope: &Envelope, mail: &[u8]) -> Handed {
        match self.transport.send_raw(envelope, mail) {
            Ok(_) => Handed::Taken,
            Err(error) => self.failed(&error),
        }
    }

    /// Greets it, signs in and takes leave. Blocking.
    ///
    /// # Errors
    /// What came of it.
    pub fn greet(&self) -> Result<(), Handed> {
        match self.transport.test_connection() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Handed::Lost("connection")),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &lettre::transport::smtp::Error) -> Handed {
        // What a server says may hold anything; the reply's number is enough.
        let code = error.status().map(u16::from);
        let how = match code {
            Some(code) if error.is_permanent() => Handed::Refused(code),
            Some(code) => Handed::NotNow(code),
            None if error.is_tls() => Handed::Lost("tls"),
            None => Handed::Lost("connection"),
        };
        tracing::warn!(relay = %self.shown, ?how, "a mail was not taken");
        how
    }
}

fn parameters(host: &str, extra_ca: Option<&Path>) -> Result<TlsParameters, String> {
    let mut tls = TlsParameters::builder(host.to_owned());
    if let Some(path) = extra_ca {
        let wrong = |why: String| format!("ca: {}: {why}", path.display());
        let pem = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
        let known =
            Certificate::from_pem(&pem).map_err(|_| wrong("holds no certificate".into()))?;
        tls = tls.add_root_certificate(known);
    }
    tls.build().map_err(|error| format!("smtp: {error}"))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().filter(|t| !t.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(smtp: &str, password: Option<&str>) -> Result<Relay, String> {
        let password = password.map(Into::into);
        Relay::of(&Said { smtp: smtp.into(), password, extra_ca: None })
    }

    #[test]
    fn t42_beyond_loopback_a_relay_is_spoken_to_by_tls_alone() {
        for (url, encrypted) in [
            ("smtps://user%40example.com@mail.example.com", true),
            ("smtp://mail.example.com:587", true),
            ("smtp://127.0.0.1:2525", false),
            ("smtp://[::1]:2525", false),
            ("smtps://127.0.0.1:465", true),
        ] {
            let relay = of(url, None).unwrap();
            assert_eq!(relay.is_encrypted(), encrypted, "{url}");
        }
        assert_eq!(
            of("smtp://mail.example.com", None).unwrap().shown(),
            "smtp://mail.example.com:587"
        );
    }

    #[test]
    fn t54_a_wrong_relay_is_refused_by_the_name_of_its_setting() {
        for url in [
            "mail.example.com",
            "http://mail.example.com",
            "smtps://user:hunter2@mail.example.com",
            "smtps://mail.example.com/inbox",
            "smtps://%0d%0aX@mail.example.com",
        ] {
            let why = of(url, None).unwrap_err();
            assert!(why.starts_with("smtp: "), "{url}: {why}");
        }
        assert!(of("smtps://mail.example.com", Some("secret")).unwrap_err().contains("no user"));
        let relay = of("smtps://user@mail.example.com", Some("hunter2")).unwrap();
        assert!(!format!("{relay:?}").contains("hunter2"));
    }
}
