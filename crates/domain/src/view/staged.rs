//! What a change of who is on a grant would do, read off its row before anybody writes it.

use crate::event::{Event, Row};
use crate::ids::{GrantId, PersonId};
use crate::state::State;

/// Whom a change touches, each list by identifier.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Staged {
    /// Who would come on the grant.
    pub put_on: Vec<PersonId>,
    /// Who is on it and would have something else there.
    pub changed: Vec<PersonId>,
    /// Who would be off it.
    pub taken_off: Vec<PersonId>,
    /// Whose own membership in the customer would be replaced (N9).
    pub superseded: Vec<PersonId>,
}

impl Staged {
    /// What `row` does to who is on `grant`; `before` is the state that it was judged against.
    #[must_use]
    pub fn of(before: &State, grant: GrantId, row: Option<&Row>) -> Self {
        let mut staged = Self::default();
        for recorded in row.iter().flat_map(|row| &row.events) {
            match &recorded.event {
                Event::Assigned { grant: of, person, .. } if *of == grant => {
                    let known = before.assignment_row(grant, *person).is_some();
                    let list = if known { &mut staged.changed } else { &mut staged.put_on };
                    list.push(*person);
                }
                Event::AssignmentEnded { grant: of, person, .. } if *of == grant => {
                    staged.taken_off.push(*person);
                }
                Event::AssignedMany { grant: of, new, more, .. } if *of == grant => {
                    staged.put_on.extend(new);
                    staged.changed.extend(more);
                }
                Event::UnassignedMany { grant: of, off, less, .. } if *of == grant => {
                    staged.taken_off.extend(off);
                    staged.changed.extend(less);
                }
                Event::MembershipSuperseded { person, .. } => staged.superseded.push(*person),
                _ => {}
            }
        }
        let lists = [
            &mut staged.put_on,
            &mut staged.changed,
            &mut staged.taken_off,
            &mut staged.superseded,
        ];
        for list in lists {
            list.sort();
            list.dedup();
        }
        staged
    }
}
