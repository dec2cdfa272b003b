//! Who the nodes are, and what they have confirmed.
//!
//! The lease is the guarantee of several nodes over one log: a node may say yes only for a while
//! after it confirmed, by a replicated write, that it had applied everything up to the head.
//! What the node does with it stands in `comity-app`; here is what the table says.

use crate::log::Head;

/// A node of an installation: random, kept in its data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u128);

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::str::FromStr for NodeId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text.trim(), 16).map(Self)
    }
}

/// What a renewal was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// Where the log stood when the write was done; `None` if somebody had declared this node
    /// dead: it has registered anew and holds no lease yet.
    pub head: Option<Head>,
    /// The database's own clock (UTC, ms), to be compared with ours.
    pub wall: Option<i64>,
}

/// A row of the lease table: another node, as a waiter sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRow {
    /// Which node.
    pub node: NodeId,
    /// Raised each time it registers.
    pub epoch: u64,
    /// Raised by each renewal.
    pub beat: u64,
    /// Everything up to this row is in its decisions.
    pub applied: u64,
    /// Which kinds of rows it can read.
    pub feature: u32,
}
