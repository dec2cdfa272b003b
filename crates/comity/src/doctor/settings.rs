//! The settings, and the process that would run under them.

use std::os::unix::fs::PermissionsExt as _;

use comity_app::mail::Way;

use super::Checks;
use crate::config::{Config, Flags};

/// Looks at the settings; `None` if they do not say enough to look further.
pub fn check(flags: &Flags, checks: &mut Checks) -> Option<Config> {
    let config = match flags.resolve() {
        Ok(config) => config,
        Err(error) => {
            let reasons: Vec<String> = error.chain().map(|e| e.to_string().trim().into()).collect();
            checks.fail("settings", reasons.join(": "), "correct the setting that is named");
            return None;
        }
    };
    match &config.file {
        None => checks.ok("settings", "no config file; flags, environment and defaults fit"),
        Some(path) => match std::fs::metadata(path).map(|m| m.permissions().mode() & 0o777) {
            Ok(mode) if mode & 0o022 != 0 => checks.fail(
                "settings",
                format!("{} has mode {mode:04o}: others may change it", path.display()),
                format!("chmod go-w {}", path.display()),
            ),
            _ => checks.ok("settings", format!("{} fits", path.display())),
        },
    }
    if config.listen.ip().is_loopback() {
        checks.ok("listen", format!("{}, this machine alone", config.listen));
    } else {
        checks.ok("listen", format!("{}, behind the proxy that behind_proxy names", config.listen));
    }
    if config.clients_unknown {
        checks.warn(
            "proxies",
            "every request seems to come from the proxy: strangers can use up the sign-ins of others",
            "list the proxy's address in trusted_proxies",
        );
    }
    match config.metrics_listen {
        Some(address) if !address.ip().is_loopback() => checks.warn(
            "metrics",
            format!("{address}: whoever reaches it reads the figures"),
            "let the network keep strangers out, or listen on 127.0.0.1",
        ),
        Some(address) => checks.ok("metrics", format!("{address}, this machine alone")),
        None => checks.ok("metrics", "not shown; metrics_listen shows them"),
    }
    let (allowed, refused) = config.outbound.rules.entries();
    let told = format!("the public internet, {allowed} more allowed, {refused} ranges refused");
    if config.outbound.rules.contradicts_itself() {
        checks.warn(
            "outbound",
            format!("{told}; a range is in both lists and is refused"),
            "take it out of outbound_allow or outbound_refused",
        );
    } else {
        checks.ok("outbound", told);
    }
    mail(&config, checks);
    if config.log > tracing::Level::INFO {
        let level = config.log.as_str().to_ascii_lowercase();
        checks.warn("log level", format!("{level} is for finding errors"), "set log = \"info\"");
    } else {
        checks.ok("log level", config.log.as_str().to_ascii_lowercase());
    }
    Some(config)
}

/// Whether the relay lets us in.
fn mail(config: &Config, checks: &mut Checks) {
    let Some(mail) = &config.mail else {
        return checks.ok("mail", "not sent: people are told in their inboxes; mail.smtp sends it");
    };
    match &mail.way {
        Way::Print(_) => checks.warn(
            "mail",
            "written to the log and not sent: nobody is told beyond the inbox",
            "name a relay as mail.smtp",
        ),
        Way::Smtp(relay) => match relay.greet() {
            Ok(()) if relay.is_encrypted() => {
                checks.ok("mail", format!("{} lets us in, by TLS", relay.shown()));
            }
            Ok(()) => checks.ok("mail", format!("{} lets us in, on this machine", relay.shown())),
            Err(how) => checks.fail(
                "mail",
                format!("{} cannot be spoken to: {how:?}", relay.shown()),
                "correct mail.smtp, the user in it, or the file of the password",
            ),
        },
    }
}
