//! The first run: the link that a start on an unclaimed log prints, and claiming with it.

use std::time::Duration;

use comity_domain::command::{Caller, Command, Door, Principal};
use comity_domain::first_run::{self, Claim, LINK_LASTS};
use comity_domain::refusal::Refusal;
use comity_domain::time::Instant;

use super::{App, Failure};
use crate::people::passwords;
use crate::tokens::{self, Kind, Secret};

/// How often it is looked whether a claim of unknown outcome came through, and how many times.
const LOOKED_EVERY: Duration = Duration::from_millis(200);
const LOOKED: usize = 25;

/// What somebody who claims the installation says.
pub struct Wanted {
    /// The builder's identifier of the first organisation.
    pub organisation_id: String,
    /// Its name.
    pub organisation_name: String,
    /// The builder's identifier of its first Admin.
    pub admin_id: String,
    /// Their name.
    pub admin_name: String,
    /// Their e-mail address.
    pub admin_email: String,
    /// Their password.
    pub password: String,
}

impl std::fmt::Debug for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wanted(..)")
    }
}

/// The keys that a claim made, shown once.
#[derive(Debug, Clone)]
pub struct FirstKeys {
    /// Runs the installation.
    pub operate: Secret,
    /// Keeps organisations, units, accounts, roles and members.
    pub provision: Secret,
}

impl App {
    /// Whether nobody has ever held a key here.
    #[must_use]
    pub fn is_unclaimed(&self) -> bool {
        first_run::is_unclaimed(&self.state())
    }

    /// Makes the token by which the installation can be claimed, and says until when; an older one
    /// opens nothing any more.
    ///
    /// # Errors
    /// `wrong_state` where it is claimed already.
    pub async fn offer_first_run(&self) -> Result<(Secret, Instant), Failure> {
        let token = Secret::new(Kind::FirstRun);
        let command = Command::OfferFirstRun { digest: token.digest() };
        let done = self.run(&Caller::system(), command).await?;
        let offered = done.state.first_run.filter(|(digest, _)| *digest == token.digest());
        let until = offered.map_or(done.state.at.plus(LINK_LASTS), |(_, until)| until);
        Ok((token, until))
    }

    /// Claims the installation: the organisation, its Admin and both keys, or nothing.
    ///
    /// # Errors
    /// `not_found` for a token that opens nothing, looked at before anything else; `invalid` naming
    /// the field.
    pub async fn claim_first_run(&self, token: &str, wanted: Wanted) -> Result<FirstKeys, Failure> {
        let Some((Kind::FirstRun, link)) = tokens::parse(token) else {
            return Err(Refusal::NotFound.into());
        };
        if !first_run::opens(&self.state(), link, self.now()) {
            return Err(Refusal::NotFound.into()); // before anything is hashed for nobody
        }
        passwords::acceptable(&wanted.password)?;
        let password_hash = self.hashed(wanted.password).await?;
        let keys = FirstKeys { operate: Secret::new(Kind::Key), provision: Secret::new(Kind::Key) };
        let claim = Claim {
            link,
            organisation_id: wanted.organisation_id,
            organisation_name: wanted.organisation_name,
            code: self.fresh_code(),
            admin_id: wanted.admin_id,
            admin_name: wanted.admin_name,
            admin_email: wanted.admin_email,
            password_hash,
            operate: keys.operate.digest(),
            provision: keys.provision.digest(),
        };
        let caller = Caller { principal: Principal::Anonymous, door: Door::Console };
        match self.run(&caller, Command::ClaimFirstRun(Box::new(claim))).await {
            Ok(_) => Ok(keys),
            // Nobody else knows these keys: if it was done and they are not shown, nobody ever will.
            Err(Failure::Unknown) if self.came_through(&keys).await => Ok(keys),
            Err(failure) => Err(failure),
        }
    }

    async fn came_through(&self, keys: &FirstKeys) -> bool {
        for _ in 0..LOOKED {
            if self.state().key_by_digest(keys.operate.digest()).is_some() {
                return true;
            }
            tokio::time::sleep(LOOKED_EVERY).await;
        }
        false
    }
}
