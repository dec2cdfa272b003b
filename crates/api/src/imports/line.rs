//! One line of an import: what the `PUT` routes take, with its kind and identifiers.

use comity_app::App;
use comity_domain::command::{Command, PutMember};
use comity_domain::ids::OrganisationId;
use comity_domain::permission::Permissions;
use comity_domain::person::PortalRole;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::input;
use crate::problem::Problem;

/// What one line puts. `organisation` and `id` are the builder's own identifiers, as in the paths.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// As `PUT /v1/organisations/{organisation}`.
    Organisation {
        /// The builder's identifier.
        id: String,
        /// Its name.
        name: String,
    },
    /// As `PUT /v1/organisations/{organisation}/units/{id}`.
    Unit {
        /// Whose.
        organisation: String,
        /// The builder's identifier.
        id: String,
        /// Its name.
        name: String,
        /// False suspends it.
        #[serde(default = "yes")]
        active: bool,
    },
    /// As `PUT /v1/organisations/{organisation}/accounts/{id}`.
    Account {
        /// Whose.
        organisation: String,
        /// The builder's identifier.
        id: String,
        /// Its name.
        name: String,
        /// In which unit; the default unit if none.
        unit: Option<String>,
    },
    /// As `PUT /v1/organisations/{organisation}/roles/{id}`.
    Role {
        /// Whose.
        organisation: String,
        /// The role's code.
        id: String,
        /// Its name.
        name: String,
        /// What it permits, as `resource:verb`.
        permissions: Vec<String>,
    },
    /// As `PUT /v1/organisations/{organisation}/members/{id}`.
    Member {
        /// Whose.
        organisation: String,
        /// The builder's identifier.
        id: String,
        /// The person's name.
        name: String,
        /// The e-mail address.
        email: String,
        /// Whether the builder has proven it.
        #[serde(default)]
        email_verified: bool,
        /// In which unit; the default unit if none.
        unit: Option<String>,
        /// What the member may do inside Comity.
        #[schema(value_type = Option<String>, example = "admin")]
        portal_role: Option<PortalRole>,
        /// False suspends the member.
        #[serde(default = "yes")]
        active: bool,
    },
}

fn yes() -> bool {
    true
}

impl Line {
    /// Reads one, as strictly as any body.
    pub fn read(bytes: &[u8]) -> Result<Self, Problem> {
        input::read_json(bytes)
    }

    /// The organisation in whose order it stands, as it is written.
    pub fn organisation(&self) -> &str {
        match self {
            Self::Organisation { id, .. } => id.trim(),
            Self::Unit { organisation, .. }
            | Self::Account { organisation, .. }
            | Self::Role { organisation, .. }
            | Self::Member { organisation, .. } => organisation,
        }
    }

    /// Whether it makes or names an organisation.
    pub fn makes_organisation(&self) -> bool {
        matches!(self, Self::Organisation { .. })
    }

    /// The command, as the `PUT` routes would send it. What is sent is judged before anything is
    /// looked up.
    pub fn command(self, app: &App) -> Result<Command, Problem> {
        let find = |named: &str| -> Result<OrganisationId, Problem> {
            input::organisation(&app.state(), named)
        };
        Ok(match self {
            Self::Organisation { id, name } => {
                Command::PutOrganisation { external: id, name, code: app.fresh_code() }
            }
            Self::Unit { organisation, id, name, active } => {
                Command::PutUnit { organisation: find(&organisation)?, external: id, name, active }
            }
            Self::Account { organisation, id, name, unit } => {
                Command::PutAccount { organisation: find(&organisation)?, external: id, name, unit }
            }
            Self::Role { organisation, id, name, permissions } => {
                let permissions = Permissions::parse("permissions", &permissions)?;
                let organisation = find(&organisation)?;
                Command::PutRole { organisation, code: id, name, permissions }
            }
            Self::Member {
                organisation,
                id,
                name,
                email,
                email_verified,
                unit,
                portal_role,
                active,
            } => Command::PutMember(PutMember {
                organisation: find(&organisation)?,
                external: id,
                name,
                email,
                email_verified,
                unit,
                portal: portal_role,
                active,
            }),
        })
    }
}
