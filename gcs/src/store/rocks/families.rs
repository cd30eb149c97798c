//! Families: what a column is in RocksDB.
//!
//! Owns: their names, and which generation is current. A replica's own column is one family. A shared column is a family
//! in one of two generations, `nodes@0` or `nodes@1`: the current one is what readers see, the other one is the stage.
//! To install a stage is to change one key, however many rows it has. A family that is not there is an empty one.
//! Invariant: only [`Families::switch`] changes what is current, after that key is durable.

use rocksdb::properties;

use super::{super::Column, Db};

/// The columns that have generations.
pub(super) fn shared_columns() -> impl Iterator<Item = Column> {
    Column::ALL.iter().copied().filter(|column| column.is_shared())
}

/// One of two generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    Even,
    Odd,
}

impl Generation {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Even => Self::Odd,
            Self::Odd => Self::Even,
        }
    }

    /// As the store keeps it.
    pub(crate) fn encoded(self) -> [u8; 1] {
        [self as u8]
    }

    /// What [`Generation::encoded`] gave, if it was that.
    pub(crate) fn decoded(bytes: &[u8]) -> Option<Self> {
        [Self::Even, Self::Odd].into_iter().find(|generation| generation.encoded() == bytes)
    }

    /// The family of `column` in this generation.
    pub(super) fn family(self, column: Column) -> String {
        if column.is_shared() {
            format!("{column}@{}", self as u8)
        } else {
            column.name().to_owned()
        }
    }
}

/// The names of all families, made once: they are looked up at every read.
pub(super) struct Families {
    generation: Generation,
    names: [Vec<String>; 2],
}

impl Families {
    pub(super) fn new(generation: Generation) -> Self {
        let names = |generation: Generation| Column::ALL.iter().map(|column| generation.family(*column)).collect();
        Self { generation, names: [names(Generation::Even), names(Generation::Odd)] }
    }

    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    pub(super) fn switch(&mut self) {
        self.generation = self.generation.other();
    }

    pub(super) fn name(&self, column: Column, generation: Generation) -> &str {
        &self.names[generation as usize][column as usize]
    }
}

/// Drops the family `name` if there is one that holds anything, or ever did: an empty one can be used again, and to drop
/// it takes some ms.
pub(super) fn drop_if_used(db: &mut Db, name: &str) -> Result<(), rocksdb::Error> {
    let Some(family) = db.cf_handle(name) else { return Ok(()) };
    for property in [
        properties::NUM_ENTRIES_ACTIVE_MEM_TABLE,
        properties::NUM_ENTRIES_IMM_MEM_TABLES,
        properties::TOTAL_SST_FILES_SIZE,
    ] {
        if db.property_int_value_cf(family, property)? != Some(0) {
            return db.drop_cf(name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_and_the_current_state_share_no_family_but_own_columns_are_in_both() {
        let mut families = Families::new(Generation::Even);
        let names = |families: &Families, column| {
            let current = families.generation();
            (families.name(column, current).to_owned(), families.name(column, current.other()).to_owned())
        };
        assert_eq!(names(&families, Column::Nodes), ("nodes@0".to_owned(), "nodes@1".to_owned()));
        assert_eq!(names(&families, Column::Log), ("log".to_owned(), "log".to_owned()));
        families.switch();
        assert_eq!(names(&families, Column::Nodes), ("nodes@1".to_owned(), "nodes@0".to_owned()));
    }

    #[test]
    fn a_generation_is_read_back_and_nothing_else_is() {
        assert_eq!(Generation::decoded(&Generation::Odd.encoded()), Some(Generation::Odd));
        assert_eq!((Generation::decoded(b""), Generation::decoded(&[2])), (None, None));
    }
}
