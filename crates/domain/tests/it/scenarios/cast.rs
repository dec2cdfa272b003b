//! The cast as data: who and what there is when a story begins. Like `story.rs` it knows no door.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::story::Step;

/// Who and what there is when a story begins.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cast {
    pub never_delegable: Vec<String>,
    pub applications: BTreeMap<String, CastApplication>,
    pub organisations: BTreeMap<String, CastOrganisation>,
    pub preludes: BTreeMap<String, Prelude>,
}

/// Steps with which many stories begin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prelude {
    /// Another prelude that is played before.
    pub after: Option<String>,
    pub steps: Vec<Step>,
}

impl Cast {
    /// The steps of a prelude and of those before it, in order.
    pub fn prelude(&self, name: Option<&str>) -> Vec<&Step> {
        let Some(name) = name else { return Vec::new() };
        let prelude = self.preludes.get(name).unwrap_or_else(|| panic!("no prelude {name:?}"));
        let mut steps = self.prelude(prelude.after.as_deref());
        steps.extend(&prelude.steps);
        steps
    }
}

/// An application of the platform.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CastApplication {
    pub audience: String,
    pub permissions: Vec<String>,
}

/// An organisation with all that it has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CastOrganisation {
    pub name: String,
    #[serde(default)]
    pub units: Vec<String>,
    #[serde(default)]
    pub accounts: BTreeMap<String, CastAccount>,
    #[serde(default)]
    pub roles: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub members: BTreeMap<String, CastMember>,
}

/// An account; in the default unit unless named.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CastAccount {
    pub unit: Option<String>,
}

/// A member with a proven address `name@organisation.example`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CastMember {
    pub name: String,
    /// `admin` or `customer_support`; none unless named.
    pub portal: Option<String>,
    pub unit: Option<String>,
}
