//! Partner IDs: codes that name an organisation, or one unit of it, as a partner.
//!
//! Of the same form as a customer ID. A partner hands it to a customer that wants to offer access;
//! it lets nobody in and asks for nothing. There is none until it is made; a new one replaces it.

use crate::command::{Caller, FreshCode};
use crate::draft::{Draft, SideWrite};
use crate::event::Event;
use crate::ids::OrganisationId;
use crate::may::{self, Action, Thing};
use crate::organisation::Party;
use crate::refusal::Refusal;

/// Makes one, or a new one: the old finds nothing from now on. Offers that wait stand.
pub(crate) fn rotate(
    d: &mut Draft<'_>,
    caller: &Caller,
    organisation: OrganisationId,
    unit: Option<&str>,
    code: FreshCode,
) -> Result<(), Refusal> {
    let thing = Thing::organisation(organisation);
    may::check(&d.state, caller, Action::RotatePartnerId, thing, d.now())?;
    let unit = unit.map(|named| d.unit(organisation, named)).transpose()?;
    let party = Party { organisation, unit };
    if !d.state.party_is_active(party) {
        return Err(Refusal::NotActive("organisation"));
    }
    d.acting_for(organisation);
    d.emit(Event::PartnerIdSet { party, digest: code.digest });
    d.beside(SideWrite::PartnerId(party, code.sealed));
    Ok(())
}
