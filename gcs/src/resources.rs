//! Resource demands and supplies in fixed point.
//!
//! Owns: exact arithmetic on fractional resources. A quantity is kept in ten-thousandths of a unit (as in Ray), so that
//! ten tasks of `0.1` GPU fill one GPU exactly. `memory` is in bytes. Invariant: no quantity is negative, and an entry of
//! zero is never kept, so equal sets compare equal.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// A quantity of one resource, in ten-thousandths of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quantity(pub u64);

impl Quantity {
    /// Ten-thousandths in one unit.
    pub const UNIT: u64 = 10_000;
    /// One whole unit.
    pub const ONE: Self = Self(Self::UNIT);

    /// The nearest quantity to `units`; negative and NaN give zero.
    #[must_use]
    pub fn of(units: f64) -> Self {
        Self((units * Self::UNIT as f64).round().max(0.0) as u64)
    }

    /// The quantity in units.
    #[must_use]
    pub fn units(self) -> f64 {
        self.0 as f64 / Self::UNIT as f64
    }

    /// Whether nothing is asked.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.units())
    }
}

/// Quantities by resource name: `CPU`, `GPU`, `memory` (bytes) and custom ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceSet(BTreeMap<String, Quantity>);

/// The name of the processor resource.
pub const CPU: &str = "CPU";
/// The name of the accelerator resource.
pub const GPU: &str = "GPU";
/// The name of the memory resource, counted in bytes.
pub const MEMORY: &str = "memory";

impl ResourceSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// This set with `name` at `units`, in place of what it was.
    #[must_use]
    pub fn with(mut self, name: &str, units: f64) -> Self {
        self.set(name, Quantity::of(units));
        self
    }

    /// Puts `name` at `quantity`; zero takes it away.
    pub fn set(&mut self, name: &str, quantity: Quantity) {
        if quantity.is_zero() {
            self.0.remove(name);
        } else {
            self.0.insert(name.to_owned(), quantity);
        }
    }

    /// The quantity of `name`, zero if absent.
    #[must_use]
    pub fn of(&self, name: &str) -> Quantity {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// All quantities in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Quantity)> {
        self.0.iter().map(|(name, quantity)| (name.as_str(), *quantity))
    }

    /// Whether nothing is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `self` holds at least `demand`.
    #[must_use]
    pub fn covers(&self, demand: &Self) -> bool {
        demand.0.iter().all(|(name, quantity)| self.of(name) >= *quantity)
    }

    /// Takes `demand` away.
    ///
    /// # Errors
    /// Gives the name of the first resource that does not suffice; nothing is taken then.
    pub fn take(&mut self, demand: &Self) -> Result<(), String> {
        if let Some((name, _)) = demand.0.iter().find(|(name, quantity)| self.of(name) < **quantity) {
            return Err(name.clone());
        }
        for (name, quantity) in &demand.0 {
            self.set(name, Quantity(self.of(name).0 - quantity.0));
        }
        Ok(())
    }

    /// Adds what `other` holds.
    pub fn add(&mut self, other: &Self) {
        for (name, quantity) in &other.0 {
            self.set(name, Quantity(self.of(name).0 + quantity.0));
        }
    }
}

impl fmt::Display for ResourceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, (name, quantity)) in self.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            if name == MEMORY {
                write!(f, "{separator}{name}: {} B", quantity.units())?;
            } else {
                write!(f, "{separator}{name}: {quantity}")?;
            }
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_tenths_fill_one_unit_exactly() {
        let mut free = ResourceSet::new().with(GPU, 1.0);
        let tenth = ResourceSet::new().with(GPU, 0.1);
        for _ in 0..10 {
            free.take(&tenth).expect("a tenth is free");
        }
        assert!(free.is_empty());
        assert_eq!(free.take(&tenth), Err(GPU.to_owned()));
    }

    #[test]
    fn a_refused_take_changes_nothing() {
        let mut free = ResourceSet::new().with(CPU, 2.0).with(GPU, 1.0);
        let before = free.clone();
        assert!(free.take(&ResourceSet::new().with(CPU, 1.0).with(GPU, 2.0)).is_err());
        assert_eq!(free, before);
    }

    #[test]
    fn what_is_taken_can_be_given_back() {
        let mut free = ResourceSet::new().with(CPU, 2.0).with("tpu", 4.0);
        let before = free.clone();
        let demand = ResourceSet::new().with(CPU, 0.5).with("tpu", 4.0);
        free.take(&demand).expect("enough is free");
        assert!(!free.covers(&demand));
        free.add(&demand);
        assert_eq!(free, before);
    }
}
