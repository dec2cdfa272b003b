//! Where the server listens, keeps its data and says what it does: a config file, the environment
//! and flags, the later winning. A wrong value is refused with the name of its key.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use comity_api::gate::{self, Gate};
use comity_api::limits::{self, Proxies, Said};
use comity_app::checkpoints::Places;
use comity_app::outbound;
use comity_store::postgres::Server;
use serde::Deserialize;

use crate::database::{Named, Url};
use crate::mail::{MailFile, MailFlags};

/// What can be said on the command line or in the environment.
#[derive(Debug, Default, Args)]
pub struct Flags {
    /// Config file in TOML; its keys are named like these flags, with underscores
    #[arg(long, env = "COMITY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:8420]
    #[arg(long, env = "COMITY_LISTEN", value_name = "ADDRESS")]
    listen: Option<String>,
    /// Folder for the databases [default: comity-data]
    #[arg(long, env = "COMITY_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
    #[command(flatten)]
    named: Named,
    /// Key file, made on first start; keep it apart from the databases and back it up
    /// [default: comity.key in the data folder]
    #[arg(long, env = "COMITY_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Key file of the checkpoints, made on first start
    /// [default: checkpoint.key in the data folder]
    #[arg(long, env = "COMITY_CHECKPOINT_KEY", value_name = "FILE")]
    checkpoint_key: Option<PathBuf>,
    /// File outside the database that signed checkpoints are appended to; best on another disk
    /// [default: checkpoints in the data folder]
    #[arg(long, env = "COMITY_CHECKPOINT_FILE", value_name = "FILE")]
    checkpoint_file: Option<PathBuf>,
    /// URL under which Comity is reached from outside, without a path; it stands in what Comity signs
    /// [default: http:// and the address to listen on, if that is loopback]
    #[arg(long, env = "COMITY_ISSUER", value_name = "URL")]
    issuer: Option<String>,
    /// A trusted proxy in front of Comity speaks TLS; needed to listen beyond loopback
    #[arg(long, env = "COMITY_BEHIND_PROXY", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    behind_proxy: Option<bool>,
    /// Addresses or networks of proxies that say whom they serve, separated by commas
    /// [default: none]
    #[arg(long, env = "COMITY_TRUSTED_PROXIES", value_name = "NETWORKS", value_delimiter = ',')]
    trusted_proxies: Option<Vec<String>>,
    /// Where those proxies say it: x-forwarded-for or forwarded [default: x-forwarded-for]
    #[arg(long, env = "COMITY_CLIENT_HEADER", value_name = "HEADER")]
    client_header: Option<String>,
    /// Address for /metrics, /healthz and /readyz, apart from the API [default: none]
    #[arg(long, env = "COMITY_METRICS_LISTEN", value_name = "ADDRESS")]
    metrics_listen: Option<String>,
    /// Figures may be read beyond loopback: they are plain HTTP and ask nobody who they are
    #[arg(long, env = "COMITY_METRICS_BEYOND_LOOPBACK", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    metrics_beyond_loopback: Option<bool>,
    /// Addresses and names that webhooks and event streams may be sent to beside the public
    /// internet, separated by commas: 10.20.0.0/16, hooks.corp.example [default: none]
    #[arg(long, env = "COMITY_OUTBOUND_ALLOW", value_name = "LIST")]
    outbound_allow: Option<String>,
    /// Ranges of addresses that they are never sent to, whatever allows them, separated by commas:
    /// such as your own prefix for NAT64 [default: none]
    #[arg(long, env = "COMITY_OUTBOUND_REFUSED", value_name = "LIST")]
    outbound_refused: Option<String>,
    /// Certificate authorities trusted for them beside the system's, in PEM [default: none]
    #[arg(long, env = "COMITY_OUTBOUND_CA", value_name = "FILE")]
    outbound_ca: Option<PathBuf>,
    /// Plain HTTP on this machine's loopback is allowed for them: for trying things out
    #[arg(long, env = "COMITY_ALLOW_INSECURE_WEBHOOKS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    allow_insecure_webhooks: Option<bool>,
    #[command(flatten)]
    mail: MailFlags,
    /// What is logged: error, warn, info, debug, trace [default: info]
    #[arg(long, env = "COMITY_LOG", value_name = "LEVEL")]
    log: Option<String>,
    /// How it is logged: text or json [default: text]
    #[arg(long, env = "COMITY_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<String>,
    issuer: Option<String>,
    data: Option<PathBuf>,
    database: Option<Url>,
    database_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    checkpoint_key: Option<PathBuf>,
    checkpoint_file: Option<PathBuf>,
    behind_proxy: Option<bool>,
    trusted_proxies: Option<Vec<String>>,
    client_header: Option<String>,
    metrics_listen: Option<String>,
    metrics_beyond_loopback: Option<bool>,
    outbound_allow: Option<Vec<String>>,
    outbound_refused: Option<Vec<String>>,
    outbound_ca: Option<PathBuf>,
    allow_insecure_webhooks: Option<bool>,
    log: Option<String>,
    log_format: Option<String>,
    #[serde(default)]
    limits: limits::Settings,
    #[serde(default)]
    mail: MailFile,
    gate: Option<gate::Settings>,
}

/// What holds in the end.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The URL under which it is reached from outside; `None` for the address that is listened on.
    pub issuer: Option<String>,
    /// Where figures for monitoring are read.
    pub metrics_listen: Option<SocketAddr>,
    /// The config file.
    pub file: Option<PathBuf>,
    /// Where the databases are; with one on PostgreSQL what is the node's own.
    pub data: PathBuf,
    /// The PostgreSQL database, if it is not in files of that folder.
    pub database: Option<Server>,
    /// Whether its password can be read by whoever lists the processes.
    pub password_shown: bool,
    /// Where the key file is.
    pub key_file: PathBuf,
    /// Where the key that signs checkpoints is, and where they are appended.
    pub checkpoints: Places,
    /// How other people's servers are called.
    pub outbound: outbound::Settings,
    /// How mails are sent, if they are.
    pub mail: Option<comity_app::mail::Settings>,
    /// What proxies are told before they let a request through, if they ask here.
    pub gate: Option<Gate>,
    /// What is logged.
    pub log: tracing::Level,
    /// Whether as JSON.
    pub log_json: bool,
    /// How often is too often, and whom to believe about where requests come from.
    pub limits: limits::Settings,
    /// Whether all requests come from a proxy, and none is listed that says whom it serves.
    pub clients_unknown: bool,
}

impl Flags {
    /// Flags and environment over the file over the defaults.
    pub fn resolve(&self) -> anyhow::Result<Config> {
        let file = match &self.config {
            None => File::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("config file {}", path.display()))?;
                toml::from_str(&text).with_context(|| format!("config file {}", path.display()))?
            }
        };
        let listen = self.listen.clone().or(file.listen).unwrap_or_else(|| "127.0.0.1:8420".into());
        let behind_proxy = self.behind_proxy.or(file.behind_proxy).unwrap_or(false);
        let data = self.data.clone().or(file.data).unwrap_or_else(|| "comity-data".into());
        let key_file =
            self.key_file.clone().or(file.key_file).unwrap_or_else(|| data.join("comity.key"));
        let said = Named::new(file.database, file.database_file);
        let database = self.named.clone().or(said).server()?;
        let password_shown =
            database.as_ref().is_some_and(Server::has_password) && on_command_line("--database");
        let inside = Places::inside(&data);
        let checkpoints = Places {
            key_file: self
                .checkpoint_key
                .clone()
                .or(file.checkpoint_key)
                .unwrap_or(inside.key_file),
            outside: self
                .checkpoint_file
                .clone()
                .or(file.checkpoint_file)
                .unwrap_or(inside.outside),
        };
        let log = self.log.clone().or(file.log).unwrap_or_else(|| "info".into());
        let format = self.log_format.clone().or(file.log_format).unwrap_or_else(|| "text".into());
        let listen: SocketAddr = listen.parse().with_context(|| {
            format!("listen: {listen:?} is not an address with a port, such as 127.0.0.1:8420")
        })?;
        if !listen.ip().is_loopback() && !behind_proxy {
            bail!(
                "listen: {listen} is not a loopback address and Comity speaks plain HTTP; listen on 127.0.0.1, or \
                 put a proxy that speaks TLS in front and set behind_proxy = true"
            );
        }
        let issuer = self.issuer.clone().or(file.issuer);
        let issuer = issuer.map(|text| issuer_of(&text)).transpose()?;
        if issuer.is_none() && !listen.ip().is_loopback() {
            bail!(
                "issuer: {listen} is not a loopback address, so name the URL under which Comity is reached from \
                 outside, such as https://access.example.com"
            );
        }
        let metrics_listen = self
            .metrics_listen
            .clone()
            .or(file.metrics_listen)
            .map(|text| {
                text.parse::<SocketAddr>().with_context(|| {
                    format!("metrics_listen: {text:?} is not an address with a port, such as 127.0.0.1:9464")
                })
            })
            .transpose()?;
        let open = self.metrics_beyond_loopback.or(file.metrics_beyond_loopback).unwrap_or(false);
        if let Some(address) = metrics_listen.filter(|a| !a.ip().is_loopback() && !open) {
            bail!(
                "metrics_listen: {address} is not a loopback address, and figures are shown to whoever asks; listen \
                 on 127.0.0.1, or set metrics_beyond_loopback = true where the network keeps strangers out"
            );
        }
        let log = match log.as_str() {
            "error" => tracing::Level::ERROR,
            "warn" => tracing::Level::WARN,
            "info" => tracing::Level::INFO,
            "debug" => tracing::Level::DEBUG,
            "trace" => tracing::Level::TRACE,
            _ => bail!("log: {log:?} is not error, warn, info, debug or trace"),
        };
        let log_json = match format.as_str() {
            "text" => false,
            "json" => true,
            _ => bail!("log_format: {format:?} is not text or json"),
        };
        let limits = limits::Settings {
            proxies: proxies(
                self.trusted_proxies.clone().or(file.trusted_proxies),
                self.client_header.clone().or(file.client_header),
            )?,
            ..file.limits
        };
        let clients_unknown = behind_proxy && limits.proxies.trusted.is_empty();
        let split = |text: &String| -> Vec<String> {
            text.split(',').map(|e| e.trim().to_owned()).filter(|e| !e.is_empty()).collect()
        };
        let allowed = self.outbound_allow.as_ref().map(split).or(file.outbound_allow);
        let insecure =
            self.allow_insecure_webhooks.or(file.allow_insecure_webhooks).unwrap_or(false);
        let rules = outbound::Rules::new(insecure, allowed.unwrap_or_default()).map_err(|entry| {
            anyhow::anyhow!(
                "outbound_allow: {entry:?} is neither a range of addresses, such as 10.20.0.0/16, nor a name in lower \
                 case"
            )
        })?;
        let refused = self.outbound_refused.as_ref().map(split).or(file.outbound_refused);
        let rules = rules.refusing(refused.unwrap_or_default()).map_err(|entry| {
            anyhow::anyhow!(
                "outbound_refused: {entry:?} is no range of addresses, such as 2001:db8:64::/96"
            )
        })?;
        let extra_ca = self.outbound_ca.clone().or(file.outbound_ca);
        let outbound = outbound::Settings { rules, extra_ca, ..outbound::Settings::default() };
        let mail = self.mail.resolve(file.mail)?;
        let gate = file.gate.as_ref().map(gate::Settings::gate).transpose();
        let gate = gate.map_err(anyhow::Error::msg)?;
        let file = self.config.clone();
        Ok(Config {
            gate,
            mail,
            outbound,
            limits,
            clients_unknown,
            listen,
            issuer,
            metrics_listen,
            file,
            data,
            database,
            password_shown,
            key_file,
            checkpoints,
            log,
            log_json,
        })
    }
}

/// The gate of a config file, if it has one.
pub fn gate(path: &std::path::Path) -> anyhow::Result<Option<Gate>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("config file {}", path.display()))?;
    let file: File =
        toml::from_str(&text).with_context(|| format!("config file {}", path.display()))?;
    file.gate.as_ref().map(gate::Settings::gate).transpose().map_err(anyhow::Error::msg)
}

/// The URL in its only spelling: a scheme and a host, and a port where it is not the scheme's own.
/// Others compare it byte for byte (RFC 8414, section 3.3).
fn issuer_of(text: &str) -> anyhow::Result<String> {
    let url = url::Url::parse(text).with_context(|| format!("issuer: {text:?} is not a URL"))?;
    let loopback = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
        bail!("issuer: {text:?} must begin with https://, or with http:// on loopback only");
    }
    let plain = url.origin().ascii_serialization();
    if text.trim_end_matches('/') != plain || text.len() > plain.len() + 1 {
        bail!("issuer: {text:?} must be {plain:?}: no user, no path, no query, no fragment");
    }
    Ok(plain)
}

/// Whom to believe about where requests come from.
fn proxies(trusted: Option<Vec<String>>, header: Option<String>) -> anyhow::Result<Proxies> {
    let read = |text: String| text.trim().parse().with_context(|| "trusted_proxies");
    let said = match header.as_deref() {
        None | Some("x-forwarded-for") => Said::XForwardedFor,
        Some("forwarded") => Said::Forwarded,
        Some(other) => bail!("client_header: {other:?} is not x-forwarded-for or forwarded"),
    };
    let trusted = trusted.unwrap_or_default().into_iter().map(read).collect::<Result<_, _>>()?;
    Ok(Proxies { trusted, said })
}

/// Whether a flag was given as one, and not by the environment.
fn on_command_line(flag: &str) -> bool {
    let given = |argument: String| {
        argument.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    std::env::args_os().filter_map(|argument| argument.into_string().ok()).any(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str) -> anyhow::Result<Config> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("comity.toml");
        std::fs::write(&path, text).unwrap();
        Flags { config: Some(path), ..Flags::default() }.resolve()
    }

    #[test]
    fn the_file_is_read_and_flags_win() {
        let config = with_file("listen = \"127.0.0.1:9000\"\ndata = \"here\"\n").unwrap();
        assert_eq!(config.listen.port(), 9000);
        assert_eq!(config.key_file, PathBuf::from("here/comity.key"));
        let flags = Flags { listen: Some("[::1]:7000".into()), ..Flags::default() };
        assert_eq!(flags.resolve().unwrap().listen.port(), 7000);
    }

    #[test]
    fn t54_a_wrong_value_is_refused_by_the_name_of_its_key() {
        for (text, key) in [
            ("listen = \"0.0.0.0:8420\"", "listen"),
            ("listen = \"here\"", "listen"),
            ("listen = \"0.0.0.0:8420\"\nbehind_proxy = true", "issuer"),
            ("issuer = \"http://access.example.com\"", "issuer"),
            ("issuer = \"https://access.example.com/comity\"", "issuer"),
            ("issuer = \"https://access.example.com?x\"", "issuer"),
            ("issuer = \"https://access.example.com#x\"", "issuer"),
            ("issuer = \"https://me@access.example.com\"", "issuer"),
            ("issuer = \"https://Access.example.com\"", "issuer"),
            ("issuer = \"https://access.example.com:443\"", "issuer"),
            ("issuer = \"access.example.com\"", "issuer"),
            ("issuer = \"\"", "issuer"),
            ("metrics_listen = \"0.0.0.0:9464\"", "metrics_listen"),
            ("metrics_listen = \"9464\"", "metrics_listen"),
            ("log = \"loud\"", "log"),
            ("outbound_allow = [\"*.example.com\"]", "outbound_allow"),
            ("outbound_allow = [\"10.0.0.0/99\"]", "outbound_allow"),
            ("outbound_refused = [\"hooks.corp.example\"]", "outbound_refused"),
            ("log_format = \"xml\"", "log_format"),
            ("database = \"mysql://x@y/z\"", "database"),
            ("database_file = \"nowhere\"", "database_file"),
            ("database = \"postgres://a@127.0.0.1/b\"\ndatabase_file = \"x\"", "once"),
            ("lisen = \"127.0.0.1:1\"", "lisen"),
            ("behind_proxy = \"perhaps\"", "behind_proxy"),
            ("trusted_proxies = [\"proxy.example\"]", "trusted_proxies"),
            ("trusted_proxies = [\"10.0.0.0/33\"]", "trusted_proxies"),
            ("client_header = \"x-real-ip\"", "client_header"),
            ("[limits]\nsign_in = \"5/minute\"", "sign_in"),
            ("[limits]\nsignin = \"5/min\"", "signin"),
            ("[gate]\napplication = \"boats\"", "from"),
            ("[gate]\napplication = \"boats\"\nfrom = \"nginx\"", "gate.rules"),
            ("[gate]\napplication = \"boats\"\nfrom = \"apache\"", "from"),
            (
                "[gate]\napplication = \"boats\"\nfrom = \"nginx\"\n[[gate.rules]]\nmethods = [\"GET\"]\n\
                 path = \"/boats\"\npermission = \"boats:read\"",
                "gate.rules, rule 1: account",
            ),
        ] {
            let error = format!("{:#}", with_file(text).unwrap_err());
            assert!(error.contains(key), "{text}: {error}");
        }
        let open = "listen = \"0.0.0.0:8420\"\nbehind_proxy = true\n";
        let named = with_file(&format!("{open}issuer = \"https://access.example.com/\"")).unwrap();
        assert_eq!(named.issuer.as_deref(), Some("https://access.example.com"));
        for loopback in ["http://127.0.0.1:8420", "http://[::1]:8420", "http://localhost:8420"] {
            let named = with_file(&format!("issuer = \"{loopback}\"")).unwrap();
            assert_eq!(named.issuer.as_deref(), Some(loopback));
        }
    }
    #[test]
    fn t46_limits_and_proxies_are_read_and_a_proxy_that_is_not_listed_is_noticed() {
        let text = "listen = \"0.0.0.0:1\"\nbehind_proxy = true\nissuer = \"https://a.example\"\n";
        assert!(with_file(text).unwrap().clients_unknown);
        let text = format!(
            "{text}trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\nclient_header = \"forwarded\"\n\
             [limits]\nsign_in = \"9/min\"\nread = \"off\"\nevent_streams = 2\n"
        );
        let config = with_file(&text).unwrap();
        assert!(!config.clients_unknown);
        assert_eq!(
            (config.limits.sign_in, config.limits.read),
            ("9/min".parse().unwrap(), limits::Rate::OFF)
        );
        assert_eq!(config.limits.event_streams, 2);
        assert!(config.limits.proxies.trusts("10.9.9.9".parse().unwrap()));
        assert_eq!(config.limits.proxies.said, Said::Forwarded);
        assert_eq!(config.limits.exchange, limits::Settings::default().exchange);
    }
}
