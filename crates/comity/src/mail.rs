//! Whether and how mails are sent, as the settings say it.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use comity_app::mail::{self, Said};
use serde::Deserialize;

use crate::say;

/// What can be said on the command line or in the environment.
#[derive(Debug, Default, Clone, Args)]
pub struct MailFlags {
    /// Relay that mails are handed to: smtps://user@host:465, or smtp://host:587 with STARTTLS
    /// [default: no mail is sent]
    #[arg(long, env = "COMITY_MAIL_SMTP", value_name = "URL")]
    mail_smtp: Option<String>,
    /// Whom mails are from: Comity <comity@example.com>
    #[arg(long, env = "COMITY_MAIL_FROM", value_name = "ADDRESS")]
    mail_from: Option<String>,
    /// File that holds the password of the user that the relay's URL names
    #[arg(long, env = "COMITY_MAIL_PASSWORD_FILE", value_name = "FILE")]
    mail_password_file: Option<PathBuf>,
    /// Certificate authorities trusted for the relay beside the system's, in PEM [default: none]
    #[arg(long, env = "COMITY_MAIL_CA", value_name = "FILE")]
    mail_ca: Option<PathBuf>,
    /// Mails are written to the log instead of being sent: for trying things out
    #[arg(long, env = "COMITY_MAIL_PRINT", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    mail_print: Option<bool>,
}

/// The section `[mail]` of the config file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailFile {
    smtp: Option<String>,
    from: Option<String>,
    password_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    print: Option<bool>,
}

impl MailFlags {
    /// Flags and environment over the file; `None` where no mail is sent.
    pub fn resolve(&self, file: MailFile) -> anyhow::Result<Option<mail::Settings>> {
        let smtp = self.mail_smtp.clone().or(file.smtp);
        let from = self.mail_from.clone().or(file.from);
        let password_file = self.mail_password_file.clone().or(file.password_file);
        let extra_ca = self.mail_ca.clone().or(file.ca);
        let print = self.mail_print.or(file.print).unwrap_or(false);
        let wrong = |why: String| anyhow::anyhow!("mail.{why}");
        let Some(smtp) = smtp else {
            if !print {
                if password_file.is_some() || extra_ca.is_some() {
                    bail!("mail.smtp: name the relay that the password or the authority is for");
                }
                return Ok(None);
            }
            let from = from.unwrap_or_else(|| "comity@localhost".into());
            return Ok(Some(mail::Settings::print(&from, logged).map_err(wrong)?));
        };
        if print {
            bail!("mail.print: mails are either handed to mail.smtp or written to the log");
        }
        let Some(from) = from else {
            bail!("mail.from: say whom mails are from, such as Comity <comity@example.com>");
        };
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path);
            let text = text.with_context(|| format!("mail.password_file: {}", path.display()))?;
            anyhow::Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        };
        let password = password_file.as_ref().map(read).transpose()?;
        let said = Said { smtp, password, extra_ca };
        Ok(Some(mail::Settings::smtp(&said, &from).map_err(wrong)?))
    }
}

/// One line of the log for each mail.
fn logged(to: &str, subject: &str, text: &str) {
    tracing::info!(to, subject, text, "a mail that is not sent");
}

/// The demo's: whoever looks at its terminal sees what would be mailed.
pub fn told(to: &str, subject: &str, text: &str) {
    let said: Vec<&str> =
        text.lines().take_while(|l| *l != "--").filter(|l| !l.is_empty()).collect();
    say(&format!("mail to {to}: {subject}: {}", said.join(" ")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t54_what_is_said_of_mail_is_refused_by_its_name_and_no_password_is_shown() {
        let resolve = |text: &str| MailFlags::default().resolve(toml::from_str(text).unwrap());
        assert!(resolve("").unwrap().is_none());
        assert!(resolve("print = true").unwrap().is_some());
        for (text, key) in [
            ("smtp = \"mail.example.com\"\nfrom = \"c@example.com\"", "mail.smtp"),
            ("smtp = \"smtps://u:p@mail.example.com\"\nfrom = \"c@example.com\"", "mail.smtp"),
            ("smtp = \"smtps://mail.example.com\"", "mail.from"),
            ("smtp = \"smtps://mail.example.com\"\nfrom = \"nobody\"", "mail.from"),
            ("smtp = \"smtps://mail.example.com\"\nfrom = \"a@b.c\\r\\nBcc: d\"", "mail.from"),
            ("smtp = \"smtps://mail.example.com\"\nfrom = \"a@b.c\"\nprint = true", "mail.print"),
            ("password_file = \"here\"", "mail.smtp"),
            (
                "smtp = \"smtps://u@mail.example.com\"\nfrom = \"a@b.c\"\npassword_file = \"/none\"",
                "mail.password_file",
            ),
            ("smtp = \"smtps://u@mail.example.com\"\nfrom = \"a@b.c\"\nca = \"/none\"", "mail.ca"),
        ] {
            let error = resolve(text).unwrap_err().to_string();
            assert!(error.starts_with(key), "{text}: {error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "hunter2\n").unwrap();
        let text = format!(
            "smtp = \"smtps://u@mail.example.com\"\nfrom = \"a@b.c\"\npassword_file = {:?}",
            file.display().to_string()
        );
        let shown = format!("{:?}", resolve(&text).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
