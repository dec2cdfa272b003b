//! Which nodes there are, for whoever looks at them from the side.

use crate::lease::NodeId;
use crate::log::StoreError;
use crate::postgres::big;
use crate::read::{Engine, Reader};

impl Reader {
    /// The nodes that nobody has declared dead, each with how many milliseconds ago it confirmed that
    /// it is current. `None` where the log is a file: then there is one, which holds it. Blocking.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn nodes(&self) -> Result<Option<Vec<(NodeId, i64)>>, StoreError> {
        match self.engine() {
            Engine::Sqlite(_) => Ok(None),
            Engine::Postgres(pool) => pool.with(|c| {
                let sql = "SELECT node, (EXTRACT(EPOCH FROM clock_timestamp() - renewed) * 1000)::bigint FROM lease WHERE NOT dead ORDER BY node";
                let rows = c.query(sql, &[])?;
                let read = |row: &::postgres::Row| Ok((NodeId(big(row, 0)?), row.try_get(1)?));
                rows.iter().map(read).collect::<Result<_, StoreError>>().map(Some)
            }),
        }
    }
}
