//! Functions: what a cluster can run, for people and for checking.
//!
//! Owns: one row a function or actor class. Invariant: an id means one name and signature, whichever job brings it.

use serde::{Deserialize, Serialize};

use super::{keys, Applied, Page, PageRequest, Reply, Route, Table, TableError, Txn};
use crate::{record, spec::FunctionInfo, store::Column, FunctionId};

/// A change of the functions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FunctionWrite {
    /// Registers a function; the same one again is nothing. Gives [`Reply::Done`].
    Put(FunctionInfo),
}

/// A question about functions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FunctionRead {
    /// One function: [`Reply::Function`].
    Get(FunctionId),
    /// This shard's functions: [`Reply::Functions`].
    List(PageRequest),
}

impl FunctionWrite {
    pub(super) fn key_hash(&self) -> u64 {
        let Self::Put(info) = self;
        keys::hash_wide(info.id.0)
    }

    pub(super) fn apply(&self, txn: &mut Txn<'_>) -> Applied {
        let Self::Put(info) = self;
        let key = keys::wide(info.id.0);
        match txn.record::<FunctionInfo>(Column::Functions, &key)? {
            Some(known) if known == *info => {}
            Some(known) => {
                let refusal = TableError::FunctionConflict { function: info.id, name: known.name.to_string() };
                return Err(refusal.into());
            }
            None => txn.put_row(Table::Functions, key, info)?,
        }
        Ok(Reply::Done)
    }
}

impl FunctionRead {
    pub(super) fn route(&self) -> Route {
        match self {
            Self::Get(function) => Route::Key(keys::hash_wide(function.0)),
            Self::List(_) => Route::Every,
        }
    }

    pub(super) fn answer(&self, txn: &Txn<'_>) -> Applied {
        match self {
            Self::Get(function) => Ok(Reply::Function(txn.record(Column::Functions, &keys::wide(function.0))?)),
            Self::List(page) => {
                let (rows, next) = txn.page(Column::Functions, b"", page)?;
                let items = rows.iter().map(|(_, value)| record::decode(value)).collect::<Result<_, _>>()?;
                Ok(Reply::Functions(Page { items, next }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{spec::FunctionKind, testing::Bench};

    #[test]
    fn a_function_is_registered_once_under_one_signature() {
        let mut bench = Bench::new();
        let info = FunctionInfo {
            id: FunctionId(3),
            name: "dot".into(),
            signature: "(Tensor, Tensor)".into(),
            kind: FunctionKind::Task,
        };
        bench.apply(FunctionWrite::Put(info.clone())).unwrap();
        bench.apply(FunctionWrite::Put(info.clone())).unwrap();
        assert_eq!(bench.changes.len(), 1);
        let other = FunctionInfo { signature: "(f64)".into(), ..info.clone() };
        let refusal = TableError::FunctionConflict { function: FunctionId(3), name: "dot".to_owned() };
        assert_eq!(bench.apply(FunctionWrite::Put(other)), Err(refusal));
        assert_eq!(bench.read(FunctionRead::Get(info.id)), Ok(Reply::Function(Some(Box::new(info)))));
    }
}
