//! Invitations: their links, and what somebody finds behind one.
//!
//! The token is random; the log knows its digest, and for the mail alone it is sealed beside the
//! log. The address is known to the rules by a code under the installation's key, so that whom
//! nothing is mailed to can be remembered without a word of them.

use comity_domain::command::{Caller, Command, Door, Invite, Inviting, Principal, Sealed};
use comity_domain::ids::{Digest32, GrantId, InvitationId, OrganisationId, RoleId};
use comity_domain::invitation::{self, InvitationPhase};
use comity_domain::organisation::Accounts;
use comity_domain::refusal::Refusal;
use comity_domain::text;
use comity_domain::time::Instant;

use super::{App, Failure};
use crate::keys::Keys;
use crate::node::Done;
use crate::people::passwords;
use crate::tokens::{self, Kind, Secret};

/// What the link that stops mails is sealed for.
const STOP: &str = "invitation/stop";

/// What somebody sees behind the link: nothing of the address, and not whether it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// Which.
    pub invitation: InvitationId,
    /// To which grant.
    pub grant: GrantId,
    /// How it stands.
    pub phase: InvitationPhase,
    /// Whether it waits for another Admin of the partner.
    pub held: bool,
    /// Who invites.
    pub provider: OrganisationId,
    /// Where one would work.
    pub customer: OrganisationId,
    /// With which roles.
    pub roles: Vec<RoleId>,
    /// In which accounts.
    pub accounts: Accounts,
    /// When the assignment would end.
    pub ends: Instant,
    /// Until when it can be answered.
    pub expires: Instant,
}

/// What binds a sealed token to its digest in the log.
fn place(digest: Digest32) -> String {
    format!("invitation/{digest}")
}

/// The address under the installation's key. Addresses that differ in case alone are one mailbox
/// here: who wants no mail gets none however it is written.
fn recipient(keys: &Keys, email: &str) -> Digest32 {
    Digest32(keys.mac(format!("invitation/recipient/{}", email.to_ascii_lowercase()).as_bytes()))
}

/// The token of an invitation as its mail shows it.
pub(crate) fn opened(keys: &Keys, digest: Digest32, sealed: &[u8]) -> Option<String> {
    String::from_utf8(keys.open_sealed(&place(digest), sealed)?).ok()
}

/// What stands behind the link that stops mails to an address.
pub(crate) fn stop_ticket(keys: &Keys, recipient: Digest32) -> String {
    use base64::Engine as _;
    let sealed = keys.seal(STOP, &recipient.0);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sealed.0)
}

fn digest(token: &str) -> Result<Digest32, Refusal> {
    match tokens::parse(token.trim()) {
        Some((Kind::Invitation, digest)) => Ok(digest),
        _ => Err(Refusal::NotFound),
    }
}

impl App {
    fn fresh_link(&self) -> (Digest32, Sealed) {
        let secret = Secret::new(Kind::Invitation);
        let digest = secret.digest();
        (digest, self.keys().seal(&place(digest), secret.reveal().as_bytes()))
    }

    /// The command by which an address is invited to a grant. Its link goes by mail only: nobody
    /// who invites sees it.
    ///
    /// # Errors
    /// `invalid` for what is no address.
    pub fn invitation(
        &self,
        grant: GrantId,
        email: &str,
        giving: Inviting,
    ) -> Result<Command, Failure> {
        let email = text::email("email", email)?;
        let (token, sealed) = self.fresh_link();
        let recipient = recipient(self.keys(), &email);
        let email = email.to_string();
        Ok(Command::Invite(Box::new(Invite { grant, email, recipient, giving, token, sealed })))
    }

    /// The command by which it is sent again, with another link.
    #[must_use]
    pub fn invitation_again(&self, grant: GrantId, invitation: InvitationId) -> Command {
        let (token, sealed) = self.fresh_link();
        Command::ResendInvitation { grant, invitation, token, sealed }
    }

    /// What is behind a link.
    ///
    /// # Errors
    /// `not_found` for one that leads nowhere.
    pub fn look_at_invitation(&self, token: &str) -> Result<Looked, Failure> {
        let (state, now) = (self.state(), self.now());
        let (id, i, grant) = invitation::by_link(&state, digest(token)?)?;
        Ok(Looked {
            invitation: id,
            grant: i.grant,
            phase: i.phase(&state, now),
            held: i.is_held(&state),
            provider: grant.provider.organisation,
            customer: grant.customer.organisation,
            roles: i.roles.clone(),
            accounts: i.accounts.clone(),
            ends: i.ends_at.min(grant.window.end),
            expires: i.expires(),
        })
    }

    /// The command by which the invited person comes in.
    ///
    /// # Errors
    /// `not_found` for what is no such token.
    pub fn accepting(&self, token: &str) -> Result<Command, Failure> {
        Ok(Command::AcceptInvitation { token: digest(token)? })
    }

    /// Whoever holds the link says no.
    ///
    /// # Errors
    /// `not_found` for a link that leads nowhere, `wrong_state` for one that is over.
    pub async fn decline_invitation(&self, door: Door, token: &str) -> Result<Done, Failure> {
        let token = digest(token)?;
        let caller = Caller { principal: Principal::Anonymous, door };
        self.run(&caller, Command::DeclineInvitation { token }).await
    }

    /// Makes a local account with the invited address, unless there is one. The answer is the same
    /// either way, and it takes as long: the password is hashed and a row is written (T26).
    ///
    /// # Errors
    /// `not_found` for a link that leads nowhere, `wrong_state` for one that is over or that
    /// somebody has registered by, `invalid` naming the field.
    pub async fn register_invited(
        &self,
        door: Door,
        token: &str,
        name: &str,
        password: String,
    ) -> Result<(), Failure> {
        let token = digest(token)?;
        invitation::by_link(&self.state(), token)?; // before anything is hashed for nobody
        text::name("name", name)?;
        passwords::acceptable(&password)?;
        let password_hash = self.hashed(password).await?;
        let caller = Caller { principal: Principal::Anonymous, door };
        let name = name.to_owned();
        self.run(&caller, Command::RegisterInvited { token, name, password_hash }).await?;
        Ok(())
    }

    /// Nothing is mailed any more to the address whose mail held this link.
    ///
    /// # Errors
    /// `not_found` for a link that was in no mail.
    pub async fn stop_invitations(&self, ticket: &str) -> Result<(), Failure> {
        use base64::Engine as _;
        let sealed = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(ticket.trim());
        let recipient = sealed
            .ok()
            .and_then(|sealed| self.keys().open_sealed(STOP, &sealed))
            .and_then(|plain| plain.try_into().ok())
            .map(Digest32)
            .ok_or(Refusal::NotFound)?;
        self.run(&Caller::system(), Command::SuppressAddress { recipient }).await?;
        Ok(())
    }
}
