//! The rows of Actinic: its goals, and its side of Ray's microbenchmark.
//!
//! Every row runs a program as a user would write it, on an embedded node of [`WORKERS`](crate::row::WORKERS) CPUs, from
//! a driver that is not one of its workers. What the rows call of the library is in `node` and `remote`.

mod actors;
mod cluster;
mod cluster_groups;
mod cluster_objects;
mod envelope;
mod gcs;
mod locality;
mod micro;
mod micro_actors;
mod node;
mod objects;
mod remote;
mod tasks;

pub(crate) use self::cluster::drive;
use crate::row::Row;

/// The rows with goals.
pub(crate) fn goals() -> Vec<Row> {
    [tasks::rows(), actors::rows(), objects::rows(), envelope::rows(), gcs::rows(), cluster()]
        .into_iter()
        .flatten()
        .collect()
}

/// Those of real processes: each has its like on Ray's side, or in the paper.
pub(crate) fn cluster() -> Vec<Row> {
    [cluster::rows(), cluster_groups::rows(), cluster_objects::rows(), locality::rows()].into_iter().flatten().collect()
}

/// The rows that bear the names of Ray's microbenchmark, and of the limits that Ray publishes for one node.
pub(crate) fn micro() -> Vec<Row> {
    [micro::rows(), micro_actors::rows(), envelope::beside_ray()].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_of_a_list_share_a_name_and_every_reference_has_its_row_s_unit() {
        for list in [goals(), micro()] {
            let mut names: Vec<&str> = list.iter().map(|row| row.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), list.len());
            assert!(list.iter().all(|row| row.references.iter().all(|reference| reference.unit == row.unit)));
        }
    }
}
